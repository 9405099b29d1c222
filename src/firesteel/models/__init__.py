"""Models: which there are, where they come from, where their files live, what a file says about itself."""
