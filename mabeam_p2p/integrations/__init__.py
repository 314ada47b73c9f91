"""What other libraries expect, made of the public names of this one. Nothing here is imported by
itself, and each part says what to install if its library is missing."""
