"""The pages where a user chooses the patient and the visit that an app is to work with."""
