// The pages of a validator.
import { measure, proofs } from "./measures.js";
import { miner, miners } from "./miners.js";
import { overview } from "./overview.js";
import { leases, rental } from "./rentals.js";
import { vector, weights } from "./weights.js";

export const tabs = [["/", "Overview"], ["/miners", "Miners"], ["/proofs", "Proofs", ["/measures"]], ["/weights", "Weights"], ["/leases", "Leases", ["/rentals"]]];
export const routes = [
  [/^\/$/, overview],
  [/^\/miners$/, miners],
  [/^\/miners\/([1-9A-Za-z]+)$/, miner],
  [/^\/proofs$/, proofs],
  [/^\/measures\/(\d+)$/, measure],
  [/^\/weights$/, weights],
  [/^\/weights\/(\d+)$/, vector],
  [/^\/leases$/, leases],
  [/^\/rentals\/([0-9a-f]+)$/, rental],
];
