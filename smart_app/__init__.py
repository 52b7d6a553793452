"""The clinician's SMART app: a backend-for-frontend; tokens stay here, browsers get HTML."""
