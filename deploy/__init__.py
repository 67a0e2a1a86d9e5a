"""Deployment: settings, local servers, the cluster as code, and backups."""
