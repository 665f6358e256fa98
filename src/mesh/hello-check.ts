import { equal, type PublicKey } from '../core/bytes.ts'
import { decode } from '../core/codec.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { isKithError, KithError } from '../core/errors.ts'
import { type Did, formatDid } from '../identity/did.ts'
import type { Binding } from '../identity/types.ts'
import type { Channel } from '../transport/types.ts'
import { asHelloInvalid, checkFailed } from './errors.ts'
import type { HelloCache, ShownChain } from './hello-cache.ts'
import {
  decodeHello,
  EXCHANGE_CLASSICAL,
  EXCHANGE_POST_QUANTUM,
  EXTENSION_CHAIN,
  EXTENSION_KNOWN,
  EXTENSION_MUST_UNDERSTAND,
  type HelloMessage,
  type KnownExtension,
  knownExtension,
  transportNumber,
} from './hello-codec.ts'

/** What a HELLO is held against. */
export interface HelloExpectation {
  readonly channel: Pick<Channel, 'localKey' | 'remoteKey' | 'path' | 'postQuantum'>
  readonly ownDid: Did
  readonly ownDidKey: PublicKey
  /** Whom the dialer means to reach. */
  readonly expect: Did | undefined
  readonly versions: { readonly min: number; readonly max: number }
  readonly capabilities: bigint
  readonly cache: HelloCache
  readonly now: number
}

/** A HELLO that holds together by itself. Whose it is remains a claim until its PROOF. */
export interface CheckedHello {
  readonly message: HelloMessage
  readonly did: Did
  readonly didKey: PublicKey
  readonly binding: Binding
  /** The chain extension. */
  readonly shown: ShownChain | undefined
  /** What it says it knows of the chain of this node's identity. */
  readonly known: KnownExtension | undefined
  readonly version: number
  readonly capabilities: bigint
}

/**
 * The checks of PN-5 in their order, up to PROOF, as far as they need nothing but the message and the channel. What needs knowledge of the
 * claimed identity (stored chain, pins, serials, boots) waits for PROOF (`hello-knowledge.ts`): before it, nothing is looked up by a claim.
 * @throws KithError `HELLO_INVALID`, `WRONG_PEER`, `SELF_DIAL`, `BINDING_*`, `CHAIN_*`, `VERSION_UNSUPPORTED`.
 */
export function checkHello(bytes: Uint8Array, expected: HelloExpectation): CheckedHello {
  const message = readHello(bytes)
  const { channel } = expected
  if (!equal(message.ownLink, channel.remoteKey)) {
    throw checkFailed('HELLO_INVALID', 'own-link', 'the greeting names another device than the connection was made with')
  }
  if (!equal(message.peerLink, channel.localKey)) throw checkFailed('HELLO_INVALID', 'peer-link', 'the greeting was made for another device')
  if (message.expectedDid !== undefined && !equal(message.expectedDid, expected.ownDidKey)) {
    throw checkFailed('WRONG_PEER', 'peer-did', 'the other side looks for another identity')
  }
  const didKey = readDidKey(message.ownDid)
  const did = formatDid(didKey)
  if (expected.expect !== undefined && did !== expected.expect) {
    throw checkFailed('WRONG_PEER', 'peer-did', 'another identity answered than the one expected', { details: { expected: expected.expect, got: did } })
  }
  if (message.transport !== transportNumber(channel.path.scheme)) throw checkFailed('HELLO_INVALID', 'transport', 'the greeting was made for another transport')
  if (message.exchange !== (channel.postQuantum ? EXCHANGE_POST_QUANTUM : EXCHANGE_CLASSICAL)) {
    throw checkFailed('HELLO_INVALID', 'exchange', 'the two sides see different key exchanges')
  }
  if (equal(message.ownLink, message.peerLink)) throw checkFailed('SELF_DIAL', 'self', 'a node does not connect to itself')

  const binding = readBinding(message, did, expected)
  const shown = readChainExtension(message, did, expected)
  const chain = shown?.state
  if (chain !== undefined && binding.chainIndex <= chain.index) expected.cache.binding(message.binding, binding, { chain, now: expected.now })

  const known = readKnownExtension(message)
  return {
    message,
    did,
    didKey,
    binding,
    shown,
    known,
    version: agreeVersion(message, expected.versions),
    capabilities: message.capabilities & expected.capabilities,
  }
}

function readHello(bytes: Uint8Array): HelloMessage {
  let message: HelloMessage
  try {
    message = decodeHello(bytes)
  } catch (error) {
    throw asHelloInvalid(error, 'size')
  }
  for (const type of message.extensions.keys()) {
    if (type >= EXTENSION_MUST_UNDERSTAND) {
      throw checkFailed('HELLO_INVALID', 'extension', 'the greeting asks for something this version does not know', { details: { type } })
    }
  }
  return message
}

function readDidKey(bytes: Uint8Array): PublicKey {
  try {
    return parsePublicKey(bytes)
  } catch (error) {
    if (isKithError(error, 'KEY_INVALID')) throw checkFailed('HELLO_INVALID', 'peer-did', 'the identity of the greeting is no valid key', { cause: error })
    throw error
  }
}

/** Exactly for (own_did, own_link): a valid binding of somebody else, or of another device, says nothing about this one. */
function readBinding(message: HelloMessage, did: Did, { channel, cache }: HelloExpectation): Binding {
  const binding = cache.decodeBinding(message.binding, channel.remoteKey)
  if (binding.did !== did) throw checkFailed('BINDING_INVALID', 'binding-did', 'the binding belongs to another identity')
  if (!equal(binding.linkKey, message.ownLink)) throw checkFailed('BINDING_INVALID', 'binding-link', 'the binding belongs to another device')
  return binding
}

function readChainExtension(message: HelloMessage, did: Did, expected: HelloExpectation): ShownChain | undefined {
  const bytes = message.extensions.get(EXTENSION_CHAIN)
  if (bytes === undefined) return undefined
  const shown = expected.cache.chain(bytes, expected.channel.remoteKey, did, expected.now)
  if (shown.entries.some((entry) => entry.did !== did)) throw checkFailed('CHAIN_INVALID', 'chain-extension', 'the chain belongs to another identity')
  return shown
}

function readKnownExtension(message: HelloMessage): KnownExtension | undefined {
  const bytes = message.role === 'dialer' ? message.extensions.get(EXTENSION_KNOWN) : undefined
  if (bytes === undefined) return undefined
  try {
    return decode(knownExtension, bytes)
  } catch (error) {
    throw asHelloInvalid(error, 'extension')
  }
}

function agreeVersion(message: HelloMessage, own: { readonly min: number; readonly max: number }): number {
  const version = Math.min(message.protocolMax, own.max)
  if (version < message.protocolMin || version < own.min) {
    throw new KithError('VERSION_UNSUPPORTED', undefined, {
      details: { ownMin: own.min, ownMax: own.max, remoteMin: message.protocolMin, remoteMax: message.protocolMax },
    })
  }
  return version
}
