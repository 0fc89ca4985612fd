"""A run: its folder, its steps, what is cached. The only room that joins the others."""
