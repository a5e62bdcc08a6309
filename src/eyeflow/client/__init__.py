"""The user's side of a cluster: keys, the profile with URL and token, and the client of the REST API."""
