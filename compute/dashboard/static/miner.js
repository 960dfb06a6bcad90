// The pages of a miner.
import { host } from "./host.js";
import { images } from "./images.js";
import { lease, leases } from "./leases.js";

export const tabs = [["/", "Machine"], ["/leases", "Leases"], ["/images", "Images"]];
export const routes = [
  [/^\/$/, host],
  [/^\/leases$/, leases],
  [/^\/leases\/([0-9a-f]+)$/, lease],
  [/^\/images$/, images],
];
