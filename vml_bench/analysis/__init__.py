"""What finished runs say: leaderboards, comparisons, protocols, published claims, citations; all of it from disk."""
