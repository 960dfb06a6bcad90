// The pages of a validator.
import { measure, probes, proofs } from "./measures.js";
import { miner, miners } from "./miners.js";
import { overview } from "./overview.js";
import { vector, weights } from "./weights.js";

export const tabs = [["/", "Overview"], ["/miners", "Miners"], ["/proofs", "Proofs", ["/measures"]], ["/weights", "Weights"], ["/leases", "Leases"]];
export const routes = [
  [/^\/$/, overview],
  [/^\/miners$/, miners],
  [/^\/miners\/([1-9A-Za-z]+)$/, miner],
  [/^\/proofs$/, proofs],
  [/^\/measures\/(\d+)$/, measure],
  [/^\/weights$/, weights],
  [/^\/weights\/(\d+)$/, vector],
  [/^\/leases$/, probes],
];
