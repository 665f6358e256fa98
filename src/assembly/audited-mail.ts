import type { Audit } from '../core/observe/audit.ts'
import type { Mail } from '../mesh/mailbox/types.ts'
import type { PeerBook } from '../mesh/mesh-types.ts'

/** Mail as its owner meets it: who keeps messages for whom is noted. */
export function auditedMail(mail: Mail, book: Pick<PeerBook, 'resolve'>, audit: Audit): Mail {
  const note = async (action: string, subject: string): Promise<void> => {
    await audit.append({ actor: 'owner', action, subject, reason: '' })
  }
  return {
    tell: (peer, message, options) => mail.tell(peer, message, options),
    inbox: (page) => mail.inbox(page),
    find: (idPrefix) => mail.find(idPrefix),
    outbox: (page) => mail.outbox(page),
    onMessage: (listener) => mail.onMessage(listener),
    markRead: (cursor) => mail.markRead(cursor),
    delete: (cursor) => mail.delete(cursor),
    host: async (peer) => {
      await mail.host(peer)
      await note('mailbox.host', book.resolve(peer))
    },
    unhost: async (peer) => {
      await mail.unhost(peer)
      await note('mailbox.unhost', book.resolve(peer))
    },
    useHosts: async (peers) => {
      await mail.useHosts(peers)
      await note('mailbox.use', peers.length === 0 ? 'nobody' : peers.map((peer) => book.resolve(peer)).join(' '))
    },
    status: () => mail.status(),
    learnRecord: (bytes, carrier) => mail.learnRecord(bytes, carrier),
    forgetDevice: (did, device) => mail.forgetDevice(did, device),
    ownRecord: () => mail.ownRecord(),
    hosts: (peer) => mail.hosts(peer),
    start: () => mail.start(),
    close: () => mail.close(),
    [Symbol.asyncDispose]: () => mail.close(),
  }
}
