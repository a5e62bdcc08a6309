# nothing here

# yet
