import { type Audit, createAudit } from '../core/observe/audit.ts'
import { type Blobs, createBlobs } from '../gossip/blobs/blobs.ts'
import { createGossip } from '../gossip/gossip.ts'
import type { Gossip } from '../gossip/types.ts'
import type { Did } from '../identity/did.ts'
import type { Device } from '../identity/types.ts'
import { createMail } from '../mesh/mailbox/mail.ts'
import type { Mail } from '../mesh/mailbox/types.ts'
import { createMesh } from '../mesh/mesh.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { Messages } from '../mesh/messages/types.ts'
import type { TrustGraph } from '../trust/api.ts'
import { openStanding } from '../trust/standing.ts'
import type { Standing } from '../trust/standing-types.ts'
import { openTrustGraph } from '../trust/trust-graph.ts'
import { AttestationBridge } from './attestation-bridge.ts'
import { Background } from './background.ts'
import { BookTrust } from './book-trust.ts'
import { DeviceBridge } from './device-bridge.ts'
import { EvidenceBridge } from './evidence-bridge.ts'
import { IdentityUpdates } from './identity-updates.ts'
import { type OracleSettings, oraclePolicy, oracleSettings } from './oracle-policy.ts'
import { auditPairings } from './pairing-audit.ts'
import { RecoveryBridge } from './recovery-bridge.ts'
import { defineOwnTopics } from './topics.ts'
import type { AssemblyComponents } from './types.ts'

/** Everything of a node, opened and joined, not yet started. */
export interface Parts {
  readonly audit: Audit
  readonly standing: Standing
  readonly graph: TrustGraph
  readonly mesh: Mesh
  readonly messages: Messages
  readonly gossip: Gossip
  readonly mail: Mail
  readonly blobs: Blobs
  readonly bookTrust: BookTrust
  readonly attestations: AttestationBridge
  readonly evidence: EvidenceBridge
  readonly updates: IdentityUpdates
  readonly devices: DeviceBridge
  readonly recovery: RecoveryBridge
  /** As they are configured now. */
  settings: OracleSettings
  /** They were changed: who is linked is asked about again. */
  readonly settingsChanged: () => void
  device: Device
}

/**
 * Opens the parts in the order in which they need each other; `stack` closes what was opened, in the reverse order. Two of them need one that comes later, which
 * is there when they first use it: trust says its own statements through gossip, and knows devices by what messages have learned.
 */
export async function openParts(components: AssemblyComponents, stack: AsyncDisposableStack): Promise<Parts> {
  const { device, store, clock, random, logger, config = {} } = components
  const { did } = device
  const settings = oracleSettings(config)
  const common = { store, clock, random, logger, ...(components.metrics === undefined ? {} : { metrics: components.metrics }) }
  const turns = components.yieldTurn === undefined ? {} : { yieldTurn: components.yieldTurn }
  const background = new Background(logger)
  const audit = createAudit({ store, clock })
  const parts: { -readonly [P in keyof Parts]?: Parts[P] } = { audit, settings, device }
  // Set below, before anything can ask for them.
  const whole = parts as Parts

  const keeps = (peer: Did): boolean => whole.mesh.book.get(peer) !== undefined || whole.graph.score(peer) > 0
  parts.standing = stack.use(await openStanding({ ...common, own: did, audit, kept: (peer) => parts.mesh !== undefined && keeps(peer) }))
  parts.graph = stack.use(
    await openTrustGraph({
      ...common,
      did,
      directory: { keys: (author, key) => whole.messages.directory.keys(author, key) },
      publish: (payload) => whole.attestations.publish(payload),
    }),
  )
  const oracle = oraclePolicy({
    graph: parts.graph,
    standing: parts.standing,
    settings: () => whole.settings,
    heldAs: (peer) => parts.mesh?.book.get(peer)?.class,
  })
  parts.settingsChanged = oracle.changed
  const mesh = stack.use(
    await createMesh({
      ...common,
      ...turns,
      device,
      transports: components.transports,
      policy: oracle,
      conduct: parts.standing,
      onFork: (chain) => parts.evidence?.forked(chain),
      ...(components.boot === undefined ? {} : { boot: components.boot }),
      ...(config.mesh === undefined ? {} : { config: config.mesh }),
      ...(components.discovery === undefined ? {} : { discovery: components.discovery }),
      ...(components.interfaces === undefined ? {} : { interfaces: components.interfaces }),
    }),
  )
  parts.mesh = mesh
  parts.messages = mesh.messages
  const maxTopics = config.gossip?.maxTopics
  const gossip = stack.use(
    await createGossip({
      ...common,
      ...turns,
      mesh,
      messages: mesh.messages,
      conduct: parts.standing,
      onEquivocation: (found) => whole.evidence.found(found),
      ...(maxTopics === undefined ? {} : { maxTopics }),
    }),
  )
  parts.gossip = gossip
  await defineOwnTopics(gossip, logger)
  parts.mail = stack.use(
    await createMail({
      ...common,
      mesh,
      messages: mesh.messages,
      device: () => whole.device,
      publishRecord: (record) => whole.updates.publishRecord(record),
      ...(config.mail === undefined ? {} : { limits: config.mail }),
    }),
  )
  parts.blobs = stack.use(createBlobs({ ...common, mesh, messages: mesh.messages, gossip, conduct: parts.standing }))

  stack.defer(() => background.close())
  parts.bookTrust = new BookTrust({ did, book: mesh.book, graph: parts.graph, store, clock, background })
  parts.attestations = new AttestationBridge({ gossip, graph: parts.graph, clock, background })
  parts.evidence = new EvidenceBridge({ ...common, gossip, messages: mesh.messages, standing: parts.standing, background, keeps })
  parts.updates = new IdentityUpdates({
    gossip,
    mail: parts.mail,
    messages: mesh.messages,
    device: () => whole.device.linkSigner.publicKey,
    chain: () => whole.device.chain,
    fetchChain: (peer) => mesh.fetchChain(peer),
    store,
    clock,
    logger,
    background,
  })
  parts.devices = new DeviceBridge({ own: did, gossip, messages: mesh.messages, mail: parts.mail, standing: parts.standing, store, clock, logger, background })
  parts.recovery = await RecoveryBridge.open({ did, store, clock, logger, audit, gossip, mesh, messages: mesh.messages, background })
  for (const bridge of [parts.bookTrust, parts.attestations, parts.evidence, parts.updates, parts.devices, parts.recovery]) stack.defer(() => bridge.close())
  stack.defer(auditPairings(mesh, audit, background))
  return whole
}
