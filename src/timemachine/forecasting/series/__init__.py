"""Series: the noisy sine, and files of the user."""
