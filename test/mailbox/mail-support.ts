import { silentLogger } from '../../src/core/observe/log.ts'
import { createMetrics, type MetricsRegistry } from '../../src/core/observe/metrics.ts'
import { seededRandom } from '../../src/core/random.ts'
import { createMail, type MailComponents } from '../../src/mesh/mailbox/mail.ts'
import type { InboxEntry, Mail } from '../../src/mesh/mailbox/types.ts'
import { acquaint, createWorld, type NodeOptions, type World, type WorldNode } from '../mesh/mesh-support.ts'

export interface MailNode extends WorldNode {
  readonly mail: Mail
  readonly came: InboxEntry[]
  readonly published: Uint8Array[]
  readonly metrics: MetricsRegistry
  /** Mail first, then links; the store stays. */
  stop(): Promise<void>
}

export type MailNodeOptions = NodeOptions & Partial<Pick<MailComponents, 'limits'>> & { readonly startMail?: boolean }

export interface MailWorld extends World {
  mailNode(name: string, options?: MailNodeOptions): Promise<MailNode>
  /** The same machine again with the store as it is now. */
  again(node: MailNode, options?: MailNodeOptions): Promise<MailNode>
}

/** Nodes with mail in one network and one time. */
export function createMailWorld(): MailWorld {
  const world = createWorld()
  const open: MailNode[] = []
  let made = 0

  async function mailNode(name: string, options: MailNodeOptions = {}): Promise<MailNode> {
    const { limits, startMail = true, ...rest } = options
    const node = await world.node(name, rest)
    const published: Uint8Array[] = []
    const came: InboxEntry[] = []
    const metrics = createMetrics()
    const creating = createMail({
      mesh: node.mesh,
      messages: node.mesh.messages,
      store: node.store,
      device: () => node.device,
      clock: world.clock,
      random: seededRandom(`mail ${name} ${made++}`),
      logger: silentLogger,
      metrics,
      ...(limits === undefined ? {} : { limits }),
      publishRecord: (record) => void published.push(record),
    })
    const mail = await creating.catch(async (error: unknown) => {
      await world.settle(Promise.allSettled([node.mesh.close()]))
      throw error
    })
    mail.onMessage((entry) => came.push(entry))
    if (startMail) await mail.start()
    const mailed: MailNode = {
      ...node,
      mail,
      came,
      published,
      metrics,
      stop: async () => {
        await world.settle(mail.close())
        await world.settle(node.mesh.close())
      },
    }
    open.push(mailed)
    return mailed
  }

  return {
    ...world,
    mailNode,
    again: (node, options = {}) => mailNode(node.name, { identity: node.identity, device: node.device, store: node.store, listen: node.url, ...options }),
    close: async () => {
      // A node whose store failed cannot write its last words.
      await world.settle(Promise.allSettled(open.flatMap(({ mail, mesh }) => [mail.close(), mesh.close()])))
    },
  }
}

/** Linked, and each has the other's prekey. */
export async function meet(world: MailWorld, a: MailNode, b: MailNode): Promise<void> {
  await acquaint(a, b)
  await world.until(() => isLinked(a, b) && isLinked(b, a))
  await world.run(100)
}

export function isLinked(a: WorldNode, b: WorldNode): boolean {
  return a.mesh.links().some(({ did, state }) => did === b.mesh.did && state === 'connected')
}

export async function texts(node: MailNode): Promise<(string | undefined)[]> {
  return (await node.mail.inbox({ limit: 1_000 })).map(({ text }) => text)
}

/** A counter's or gauge's value, by the start of its line. */
export function metric(node: MailNode, start: string): number {
  const line = node.metrics
    .render()
    .split('\n')
    .find((text) => text.startsWith(start))
  return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ') + 1))
}
