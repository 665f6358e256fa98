import { createAssembly } from '../../src/assembly/assembly.ts'
import type { Assembly, AssemblyComponents } from '../../src/assembly/types.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { createMemoryTransport } from '../../src/transport/memory.ts'
import { type TestDevice, type TestIdentity, testDevice, testIdentity } from '../mesh/fixtures.ts'
import { createWorld, type World } from '../mesh/mesh-support.ts'

export interface Member {
  readonly name: string
  readonly assembly: Assembly
  readonly identity: TestIdentity
  readonly device: TestDevice
  readonly store: Store
}

/** Whole nodes in one network and one time. */
export interface Town {
  readonly world: World
  member(
    name: string,
    options?: Partial<AssemblyComponents> & { readonly identity?: TestIdentity; readonly device?: TestDevice; readonly store?: Store },
  ): Promise<Member>
  close(): Promise<void>
}

export function createTown(options: { readonly latencyMs?: number } = {}): Town {
  const world = createWorld(options)
  const members: Member[] = []
  return {
    world,
    async member(name, given = {}) {
      const { identity = testIdentity(name, { mldsa: true }), store = createMemoryStore(), device = testDevice(identity, name), ...rest } = given
      device.name = name
      const random = seededRandom(`town ${name} ${members.length}`)
      const { clock, network } = world
      const assembly = await createAssembly({
        device,
        store,
        transports: [createMemoryTransport({ network, signer: device.linkSigner, random, clock, name })],
        clock,
        random,
        logger: silentLogger,
        interfaces: () => [],
        ...rest,
      })
      const member: Member = { name, assembly, identity, device, store }
      members.push(member)
      await assembly.mesh.listen(`memory://${name}`)
      await assembly.start()
      return member
    },
    async close() {
      await world.settle(Promise.all(members.map(({ assembly }) => assembly.close())))
      await world.close()
    },
  }
}

/** Both know each other and where to find each other. */
export async function introduce(a: Member, b: Member): Promise<void> {
  await a.assembly.mesh.book.add(b.assembly.mesh.did, { name: b.name, urls: [`memory://${b.name}`] })
  await b.assembly.mesh.book.add(a.assembly.mesh.did, { name: a.name, urls: [`memory://${a.name}`] })
}

/** Runs time until both see the link. */
export async function linked(town: Town, a: Member, b: Member): Promise<void> {
  const sees = (near: Member, far: Member): boolean =>
    near.assembly.mesh.links().some(({ did, state }) => did === far.assembly.mesh.did && state === 'connected')
  await town.world.until(() => sees(a, b) && sees(b, a))
}
