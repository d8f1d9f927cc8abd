"""The lab: small worlds that show what one method does, with exact values to measure it against."""
