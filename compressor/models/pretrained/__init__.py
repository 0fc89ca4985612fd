"""Where pretrained weights come from: hub, folder, package or file. Builds no network."""
