"""The SVM in Python: instruction set, program container, verifier, interpreter and fast path."""
