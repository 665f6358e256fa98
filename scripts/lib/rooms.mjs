/**
 * The one table of rooms and floors (ARCHITECTURE.md). A room imports only rooms on lower floors, never a neighbour on its own.
 * `npm run check` generates the lint rules from this table and proves with a planted violation that they bite.
 */
export const ROOMS = {
  core: { floor: 0, says: 'core stands on nothing' },
  identity: { floor: 1, says: 'identity stands on core alone' },
  vault: { floor: 1, says: 'vault stands on core alone' },
  stream: { floor: 1, says: 'stream stands on core alone' },
  access: { floor: 2, says: 'access knows identities and proofs, no link and no service' },
  transport: { floor: 2, says: 'transport knows link keys and streams, nothing above' },
  mesh: { floor: 3, says: 'mesh knows nothing of the services on it' },
  tunnel: { floor: 4, says: 'services know the mesh and nothing of each other' },
  files: { floor: 4, says: 'services know the mesh and nothing of each other' },
  trust: { floor: 4, says: 'services know the mesh and nothing of each other' },
  gossip: { floor: 4, says: 'services know the mesh and nothing of each other' },
  recovery: { floor: 4, says: 'services know the mesh and nothing of each other' },
  call: { floor: 4, says: 'services know the mesh and nothing of each other' },
  ssh: { floor: 5, says: 'doors stand on services and know nothing of each other' },
  gateway: { floor: 5, says: 'doors stand on services and know nothing of each other' },
  site: { floor: 5, says: 'doors stand on services and know nothing of each other' },
  assembly: { floor: 5, says: 'the assembly joins services and knows no daemon' },
  testing: { floor: 6, says: 'the simulator stands beside the daemon' },
  daemon: { floor: 6, says: 'the daemon assembles; only cli stands above it' },
  cli: { floor: 7, says: 'cli talks to the daemon through its control interface' },
}

/** Rooms that `room` may not import. */
export function forbidden(room) {
  const { floor } = ROOMS[room]
  return Object.keys(ROOMS).filter((other) => other !== room && ROOMS[other].floor >= floor)
}

/** Biome overrides, one per room. */
export function overrides() {
  return Object.keys(ROOMS)
    .filter((room) => forbidden(room).length > 0)
    .map((room) => ({
      includes: [`src/${room}/**`],
      linter: {
        rules: {
          style: {
            noRestrictedImports: {
              level: 'error',
              options: { patterns: [{ group: forbidden(room).map((other) => `**/${other}/**`), message: ROOMS[room].says }] },
            },
          },
        },
      },
    }))
}
