"""Random requests that know FHIR: mostly nearly right, which is where servers break."""
