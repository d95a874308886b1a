"""What several test modules share: small inputs, stand-ins, and ways to disturb stages."""
