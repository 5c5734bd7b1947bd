"""What is known of vLLM, and what is done about its defects inside its API process."""
