"""`retain export`: an adapter in a form that others serve, with what that lost."""
