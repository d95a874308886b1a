"""The commands: what each is called, takes and does; a module for each group of them.

A command's function makes the cheap checks, then imports what it calls and calls it.
"""
