"""eyeflow: control rules that run unchanged on servers, edge computers and microcontrollers."""

__version__ = "0.1.0"
