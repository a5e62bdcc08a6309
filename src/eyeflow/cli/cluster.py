"""The coordinator that this user's profile or environment names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eyeflow.client.rest import CoordinatorClient


def connect() -> CoordinatorClient:
    """Return a client of the coordinator that this user's profile or environment names."""
    from eyeflow.client.profile import ClientProfile
    from eyeflow.client.rest import CoordinatorClient

    profile = ClientProfile.load()
    return CoordinatorClient(profile.url, profile.token, profile.ca_file)
