"""Files that appear whole or not at all: tables, JSON, arrays, manifests, locks."""
