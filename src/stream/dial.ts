import type { Duplex } from 'node:stream'
import { Attempt } from './attempt.ts'
import { checkPeer, type DialConfig, type Settings, settle } from './config.ts'
import type { EncryptedStream } from './encrypted-stream.ts'
import { frame } from './frame.ts'
import { abandon, type DialState, dialEnd, dialStart, type HandshakeInput, SYN_ACK_BYTES } from './handshake.ts'

/**
 * Dials over `duplex`, which belongs to the stream from now on and is destroyed on any failure.
 *
 * Key frame and Syn leave as one write; the Ack leaves with whatever is sent right after the promise resolves.
 * @throws KithError `SELF_DIAL`, `KEY_INVALID`, `HANDSHAKE_FAILED`, `HANDSHAKE_TIMESTAMP`, `HANDSHAKE_TIMEOUT`, `FRAME_TOO_LARGE`; the signal's reason;
 * TypeError for a bad configuration.
 */
export async function dial(duplex: Duplex, config: DialConfig): Promise<EncryptedStream> {
  let settings: Settings | undefined
  try {
    settings = settle(config)
    return await begin(duplex, settings, checkPeer(config.peer, settings.zip215)).result
  } catch (error) {
    settings?.release()
    duplex.destroy()
    throw error
  }
}

function begin(duplex: Duplex, settings: Settings, peer: Uint8Array): Attempt {
  const state = dialStart(handshakeInput(settings, peer))
  let attempt: Attempt
  try {
    attempt = new Attempt(duplex, settings)
  } catch (error) {
    abandon(state)
    throw error
  }
  attempt.onOver = () => abandon(state)
  attempt.expect(SYN_ACK_BYTES, (payload) => finish(attempt, state, payload))
  attempt.wire.write(Buffer.concat([frame(settings.signer.publicKey), frame(state.syn)]), () => undefined)
  attempt.start()
  return attempt
}

function finish(attempt: Attempt, state: DialState, synAck: Uint8Array): boolean {
  const { ack, established } = dialEnd(state, synAck)
  attempt.succeed('dialer', established).sender.prepend(frame(ack))
  return false
}

/** The clock is read once: the window of the other side's time hangs on it too. */
export function handshakeInput(settings: Settings, peer: Uint8Array): HandshakeInput {
  const now = Math.floor(settings.clock.now())
  return {
    signer: settings.signer,
    peer,
    namespace: settings.namespace,
    random: settings.random,
    now,
    earliest: Math.max(0, now - settings.maxHandshakeAgeMs),
    latest: now + settings.synchronyMs,
    zip215: settings.zip215,
  }
}
