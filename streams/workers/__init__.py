"""What runs in one process: intake, the view and its services, a whole province, the steward."""
