"""What we serve to browsers: the front door that guards all of it, files of the home, and how a server is started."""
