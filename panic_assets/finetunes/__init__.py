"""Image fine-tunes: every epoch judged by what it draws."""
