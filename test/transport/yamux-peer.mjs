// The npm yamux over any Duplex, as a peer to hold ours against. Plain JavaScript: its packages do not type-check under this configuration.
import { yamux } from '@chainsafe/libp2p-yamux'
import { defaultLogger } from '@libp2p/logger'
import { AbstractMessageStream } from '@libp2p/utils'

const logger = defaultLogger()

class Over extends AbstractMessageStream {
  #duplex

  constructor(duplex, direction) {
    super({ log: logger.forComponent('peer'), direction, inactivityTimeout: 1e6 })
    this.#duplex = duplex
    duplex.on('data', (bytes) => this.onData(bytes))
    duplex.on('end', () => this.onRemoteCloseWrite())
    duplex.on('close', () => this.onTransportClosed())
    duplex.on('drain', () => this.safeDispatchEvent('drain'))
    duplex.on('error', (error) => this.abort(error))
  }
  sendData(data) {
    let more = true
    for (const bytes of data) more = this.#duplex.write(bytes)
    return { sentBytes: data.byteLength, canSendMore: more }
  }
  sendReset() {
    this.#duplex.destroy()
  }
  sendPause() {
    this.#duplex.pause()
  }
  sendResume() {
    this.#duplex.resume()
  }
  async sendCloseWrite() {
    this.#duplex.end()
  }
  async sendCloseRead() {}
  async close() {
    this.#duplex.end()
  }
}

/** @param {import('node:stream').Duplex} duplex @param {'dialer' | 'listener'} role @param {object} [options] */
export function yamuxOver(duplex, role, options = {}) {
  const over = new Over(duplex, role === 'dialer' ? 'outbound' : 'inbound')
  return yamux({ enableKeepAlive: false, ...options })({ logger }).createStreamMuxer(over)
}
