import { test } from 'node:test'
import { createTown, introduce } from './support.ts'

const TIMEOUT = { timeout: 60_000 }

test('two assembled nodes that know each other, link', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 20 })
  const [ann, ben] = [await town.member('ann'), await town.member('ben')]
  await introduce(ann, ben)
  await town.world.until(() => [ann, ben].every(({ assembly }) => assembly.mesh.links().every(({ state }) => state === 'connected')))
  await town.close()
  // Twice is fine.
  await ann.assembly.close()
})
