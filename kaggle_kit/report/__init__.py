"""What a person looks at: plots."""
