"""The folder that travels to a device: read and verified before it is used."""
