"""The doors: thin faces that parse, call one function and show the answer."""
