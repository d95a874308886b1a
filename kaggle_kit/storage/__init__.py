"""Files that appear whole or not at all: tables, arrays, manifests, locks."""
