"""What the scripts need besides the lesson. Nothing here knows what a VAE is."""
