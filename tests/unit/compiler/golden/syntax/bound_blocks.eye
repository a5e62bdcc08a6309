rule example {
    on every 1s

    if a {
      if a {
        if a {
          if a {
            if a {
              if a {
                if a {
                  if a {
                    if a {
                      if a {
                        if a {
                          if a {
                            if a {
                              if a {
                                if a {
                                  if a {
                                    if a {
                                      if a {
                                        if a {
                                          if a {
                                            if a {
                                              if a {
                                                if a {
                                                  if a {
                                                    if a {
                                                      if a {
                                                        if a {
                                                          if a {
                                                            if a {
                                                              if a {
                                                                if a {
                                                                  if a {
                                                                    if a {
                                                                      if a {
                                                                        if a {
                                                                          if a {
                                                                            if a {
                                                                              if a {
                                                                                if a {
                                                                                  if a {
                                                                                    if a {
                                                                                      if a {
                                                                                        if a {
                                                                                          if a {
                                                                                            if a {
                                                                                              if a {
                                                                                                if a {
                                                                                                  if a {
                                                                                                    if a {
                                                                                                      if a {
                                                                                                        if a {
                                                                                                          if a {
                                                                                                            if a {
                                                                                                              if a {
                                                                                                                if a {
                                                                                                                  if a {
                                                                                                                    if a {
                                                                                                                      if a {
                                                                                                                        if a {
                                                                                                                          if a {
                                                                                                                            if a {
                                                                                                                              if a {
                                                                                                                                if a {
                                                                                                                                  if a {
                                                                                                                                    if a {
                                                                                                                                      if a {
                                                                                                                                        if a {
                                                                                                                                          if a {
                                                                                                                                            if a {
                                                                                                                                              if a {
                                                                                                                                              }
                                                                                                                                            }
                                                                                                                                          }
                                                                                                                                        }
                                                                                                                                      }
                                                                                                                                    }
                                                                                                                                  }
                                                                                                                                }
                                                                                                                              }
                                                                                                                            }
                                                                                                                          }
                                                                                                                        }
                                                                                                                      }
                                                                                                                    }
                                                                                                                  }
                                                                                                                }
                                                                                                              }
                                                                                                            }
                                                                                                          }
                                                                                                        }
                                                                                                      }
                                                                                                    }
                                                                                                  }
                                                                                                }
                                                                                              }
                                                                                            }
                                                                                          }
                                                                                        }
                                                                                      }
                                                                                    }
                                                                                  }
                                                                                }
                                                                              }
                                                                            }
                                                                          }
                                                                        }
                                                                      }
                                                                    }
                                                                  }
                                                                }
                                                              }
                                                            }
                                                          }
                                                        }
                                                      }
                                                    }
                                                  }
                                                }
                                              }
                                            }
                                          }
                                        }
                                      }
                                    }
                                  }
                                }
                              }
                            }
                          }
                        }
                      }
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
    let b = ]
}
