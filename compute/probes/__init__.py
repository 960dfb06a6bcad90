"""Named checks of a miner's health, shared by the checker and the doctor."""
