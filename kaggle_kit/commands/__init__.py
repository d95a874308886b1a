"""The commands: one module per group, with each command's arguments, help and function.

A command's function makes the cheap checks, then imports and calls the stage.
"""
