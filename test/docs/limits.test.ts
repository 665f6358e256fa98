import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

/** The numbers of docs/limits.md, by the constant that makes each true: whoever changes one changes the page. */
const ROWS: readonly (readonly [file: string, constant: string, value: string, said: string])[] = [
  ['stream/postquantum.ts', 'PREFACE_BYTES', '32_768', '10 s, 32 KiB a side'],
  ['mesh/preface.ts', 'PREFACE_DEADLINE_MS', '10_000', '10 s, 32 KiB a side'],
  ['transport/stack.ts', 'TIME_WINDOW_MS', '120_000', '120 s both ways in the mesh'],
  ['transport/stack.ts', 'HANDSHAKE_MS', '10_000', '10 s in the mesh'],
  ['stream/postquantum.ts', 'LINK_MESSAGE_BYTES', '65_536', '| a message of a link | 64 KiB |'],
  ['stream/record-sender.ts', 'IN_FLIGHT_LIMIT', '524_288', '| what waits to be sent | 512 KiB |'],
  ['transport/mux/limits.ts', 'DEFAULT_STREAMS', '100', '| streams open at once, of each side | 100 |'],
  ['transport/mux/limits.ts', 'RESETS_PER_SECOND', '200', '200 a second, 400 at once'],
  ['transport/mux/limits.ts', 'RESET_BURST', '400', '200 a second, 400 at once'],
  ['transport/mux/limits.ts', 'PINGS_PER_SECOND', '200', '200 a second, 1,000 at once'],
  ['transport/mux/limits.ts', 'IDLE_FRAMES', '1024', '1,024 in a row'],
  ['transport/quic/index.ts', 'MOST_HANDSHAKES', '6_000', '6,000; nothing limits a single source'],
  ['mesh/address-book.ts', 'MAX_PEERS', '10_000', '10,000; 16 of 256 bytes'],
  ['mesh/address-book-codec.ts', 'MAX_ADDRESSES', '16', '10,000; 16 of 256 bytes'],
  ['mesh/policy-rules.ts', 'MAX_RULES', '1_000', '| rules of the policy | 1,000 |'],
  ['mesh/invite.ts', 'MAX_INVITES', '256', '| invitations kept; uses of one | 256; 64 |'],
  ['mesh/invite.ts', 'MAX_USES', '64', '| invitations kept; uses of one | 256; 64 |'],
  ['mesh/pairing-service.ts', 'DEFAULT_EXPIRES_MS', '600_000', '10 minutes, at most 30 days'],
  ['mesh/pairing.ts', 'FAILURES', '5', '5 failures a minute and address'],
  ['mesh/link-table.ts', 'MAX_CONNECTIONS', '4', '| connections of one pair of machines | 4,'],
  ['mesh/link-member.ts', 'DRAIN_MS', '60_000', '| a connection that drains | 60 s |'],
  ['mesh/hello-codec.ts', 'MAX_HELLO_BYTES', '27_648', '| a Hello; extensions in it | 27 KiB; 16 |'],
  ['mesh/hello-codec.ts', 'MAX_CHAIN_EXTENSION_BYTES', '16_384', '| chain inside a Hello | 16 KiB'],
  ['mesh/dialer.ts', 'ATTEMPT_MS', '20_000', '| attempt to reach one address | 20 s;'],
  ['mesh/locate.ts', 'ANSWERS_PER_SECOND', '10', '10 a second and address, 500 in all'],
  ['mesh/mdns/browser.ts', 'MAX_PEERS_PER_SOURCE', '32', '1,000; 32; 200 a second'],
  ['mesh/sealed/sealed-codec.ts', 'MAX_BUCKET', '1_048_576', 'a bucket of 256 B x 2^k up to 1 MiB'],
  ['mesh/sealed/sealed-codec.ts', 'MAX_RECIPIENTS', '16', '| machines of one addressee | 16 |'],
  ['mesh/sealed/peer-record-codec.ts', 'MAX_HOSTS', '3', '| 3; 4,096 |'],
  ['mesh/mailbox/agreements.ts', 'MAX_HOSTING', '4_096', '| 3; 4,096 |'],
  ['mesh/mailbox/outbox.ts', 'SETTLED_KEPT', '1_000', '8,192 messages, 128 MiB; 1,000'],
  ['mesh/mailbox/server.ts', 'READING', '32', '| 32; 4; 60 s |'],
  ['mesh/mailbox/server.ts', 'READING_PER_PEER', '4', '| 32; 4; 60 s |'],
  ['mesh/mailbox/server.ts', 'FETCHES_PER_SECOND', '200', '200 requests a second, 400 at once'],
  ['mesh/request-stream.ts', 'DEADLINE_MS', '60_000', '| 32; 4; 60 s |'],
  ['trust/warnings.ts', 'WARNING_GRACE_MS', '30_000', 'counts from 30 s to an hour'],
  ['trust/warnings.ts', 'WARNING_MS', '3_600_000', 'counts from 30 s to an hour'],
  ['trust/standing-codec.ts', 'MAX_BANNED_DEVICES', '16', '| banned devices of one identity | 16 |'],
  ['trust/standing-codec.ts', 'MAX_PROOFS', '32', '| 60 KiB; 32 |'],
  ['trust/evidence-desk.ts', 'CHECKS_PER_SECOND', '10', '10 a second, 20 at once'],
  ['trust/evidence-desk.ts', 'CHECKS_AT_ONCE', '20', '10 a second, 20 at once'],
  ['trust/oracle.ts', 'SHARED_LINKS', '16', '| 16 links, ten times the rate of one known peer |'],
  ['trust/oracle.ts', 'SHARED_RATE', '10', '| 16 links, ten times the rate of one known peer |'],
  ['trust/node-acts.ts', 'PER_HOUR', '100', '100,000 rows; 100 an hour'],
  ['core/observe/audit.ts', 'DEFAULT_ROWS', '100_000', '100,000 rows; 100 an hour'],
  ['mesh/admission-budget.ts', 'GUEST_LINKS', '8', '8 more, 2 from one network, 10 s each'],
  ['mesh/admission-budget.ts', 'GUESTS_PER_NETWORK', '2', '8 more, 2 from one network, 10 s each'],
  ['mesh/admission-budget.ts', 'GUEST_MS', '10_000', '8 more, 2 from one network, 10 s each'],
  ['identity/chain-codec.ts', 'MAX_ENTRIES', '1000', '1,000 entries, 4 MiB'],
  ['identity/age-scrypt.ts', 'DEFAULT_WORK_FACTOR', '18', 'written with 18'],
  ['identity/age-scrypt.ts', 'MAX_WORK_FACTOR', '20', 'read up to 20'],
  ['identity/passphrase.ts', 'MAX_BYTES', '4096', '4,096 bytes in a file'],
  ['daemon/control/sealing.ts', 'MAX_WAITING', '16', '16, each for one request'],
  ['daemon/control/server.ts', 'MAX_CONNECTIONS', '256', '| control interface: connections | 256 |'],
]

const page = readFileSync(new URL('../../docs/limits.md', import.meta.url), 'utf8')

test('page of limits, compared with the source, states the numbers that are enforced', () => {
  for (const [file, constant, value, said] of ROWS) {
    const source = readFileSync(new URL(`../../src/${file}`, import.meta.url), 'utf8')
    assert.match(source, new RegExp(`^(export )?const ${constant}(: number)? = ${value}$`, 'm'), `${file}: ${constant}`)
    assert.ok(page.includes(said), `docs/limits.md does not say: ${said}`)
  }
})
