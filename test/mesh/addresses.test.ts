import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { acceptableAddresses, announcedAddresses, reachableAddresses, splitAddress, ticketAddresses } from '../../src/mesh/addresses.ts'
import { inNetwork, neverByRange, parseIp, parseNetwork } from '../../src/mesh/ip.ts'

const INTERFACES = ['127.0.0.1', '::1', '192.168.1.5', 'fe80::1', '2001:db8::5', '169.254.7.7']

test('listening on everything, stands for the addresses others can use', () => {
  assert.deepEqual(reachableAddresses(['tcp://0.0.0.0:4433'], INTERFACES), ['tcp://192.168.1.5:4433'])
  assert.deepEqual(reachableAddresses(['tcp://[::]:4433'], INTERFACES), ['tcp://192.168.1.5:4433', 'tcp://[2001:db8::5]:4433'])
  assert.deepEqual(reachableAddresses(['tcp://127.0.0.1:1', 'quic://10.0.0.1:2'], INTERFACES), ['quic://10.0.0.1:2', 'tcp://127.0.0.1:1'])
})

test('listening on everything at a keyed path, keeps the path with each address', () => {
  assert.deepEqual(reachableAddresses(['wss://0.0.0.0:443/token?pin=hash', 'wss://node.example:443/token'], INTERFACES), [
    'wss://192.168.1.5:443/token?pin=hash',
    'wss://node.example:443/token',
  ])
})

test('listening on everything without a network, is reached from this machine', () => {
  assert.deepEqual(reachableAddresses(['tcp://0.0.0.0:1', 'quic://[::]:2'], ['127.0.0.1', '::1', 'fe80::1']), [
    'tcp://127.0.0.1:1',
    'quic://127.0.0.1:2',
    'quic://[::1]:2',
  ])
})

test('addresses of a ticket, are all schemes of the first host and one of each other', () => {
  const all = ['tcp://10.0.0.1:1', 'quic://10.0.0.1:1', 'tcp://10.0.0.2:1', 'quic://10.0.0.2:1', 'tcp://[fd00::1]:1']
  assert.deepEqual(ticketAddresses(all, 4), ['tcp://10.0.0.1:1', 'quic://10.0.0.1:1', 'tcp://10.0.0.2:1', 'tcp://[fd00::1]:1'])
  assert.deepEqual(ticketAddresses([], 4), [])
})

test('addresses told by a peer, count as literals beyond this machine unless the peer is on it', () => {
  const told = [
    'tcp://192.168.1.9:1',
    'tcp://127.0.0.1:1',
    'tcp://[::1]:1',
    'tcp://169.254.169.254:80',
    'tcp://db.internal:5432',
    'tcp://192.168.1.9',
    'nonsense',
    'tcp://[fe80::1]:1',
  ]
  assert.deepEqual(acceptableAddresses(told, 'tcp://203.0.113.1:5'), [], 'a machine of our own network is none of its')
  assert.deepEqual(acceptableAddresses(['tcp://198.51.100.7:1', 'tcp://[fd00::1]:1', 'tcp://100.64.0.9:1'], 'tcp://203.0.113.1:5'), ['tcp://198.51.100.7:1'])
  assert.deepEqual(acceptableAddresses(told, 'tcp://10.1.2.3:5'), ['tcp://192.168.1.9:1'])
  assert.deepEqual(acceptableAddresses(told, 'tcp://127.0.0.1:5'), ['tcp://192.168.1.9:1', 'tcp://127.0.0.1:1', 'tcp://[::1]:1'])
})

test('address, is split or refused', () => {
  assert.deepEqual(splitAddress('tcp://[2001:db8::1]:4433'), { scheme: 'tcp', host: '2001:db8::1', port: '4433' })
  assert.deepEqual(splitAddress('memory://ann'), { scheme: 'memory', host: 'ann', port: '' })
  for (const bad of ['', 'tcp:', 'tcp://', 'TCP://x:1', 'tcp://a b:1', 'tcp://user@host:1', `tcp://${'x'.repeat(300)}:1`, 'tcp://x:123456']) {
    assert.equal(splitAddress(bad), undefined, bad)
  }
})

test('ip property: parsing agrees with the platform for all literals', () => {
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      const bytes = parseIp(text)
      assert.ok(bytes !== undefined)
      // The platform's own canonical form, read back.
      const canonical = new URL(`http://[${text}]/`).hostname.slice(1, -1)
      assert.deepEqual(parseIp(canonical), bytes)
    }),
    { numRuns: 500 },
  )
  fc.assert(
    fc.property(fc.ipV4(), (text) => {
      const bytes = parseIp(text)
      assert.deepEqual([...(bytes as Uint8Array).subarray(12)], text.split('.').map(Number))
      assert.deepEqual(parseIp(`::ffff:${text}`), bytes)
    }),
  )
  for (const bad of ['1.2.3', '01.2.3.4', '1.2.3.256', ':::', '1::2::3', 'fe80::1%eth0', '12345::', 'x']) assert.equal(parseIp(bad), undefined, bad)
})

test('network, holds its own addresses and refuses bits below its prefix', () => {
  const network = parseNetwork('10.32.0.0/11')
  assert.ok(network !== undefined)
  assert.equal(inNetwork(parseIp('10.63.255.255') as Uint8Array, network), true)
  assert.equal(inNetwork(parseIp('10.64.0.0') as Uint8Array, network), false)
  for (const bad of ['10.0.0.1/8', '10.0.0.0/33', '10.0.0.0/08', '10.0.0.0', '::/129', '10.0.0.0/8/8']) assert.equal(parseNetwork(bad), undefined, bad)
  for (const never of ['127.8.8.8', '0.0.0.0', '169.254.1.1', '::1', '::', 'fe80::9', 'ff02::fb', '224.0.0.251', '::ffff:127.0.0.1', '64:ff9b::a9fe:a9fe']) {
    assert.equal(neverByRange(parseIp(never) as Uint8Array), true, never)
  }
  for (const fine of ['10.0.0.1', '192.168.0.1', '8.8.8.8', '2001:db8::1', 'fd00::1', '64:ff9b::808:808'])
    assert.equal(neverByRange(parseIp(fine) as Uint8Array), false, fine)
})

test('announced addresses, only literal ones that are no host of ours are dialled', () => {
  const heard = [
    'tcp://192.168.1.9:1',
    'tcp://203.0.113.9:1',
    'tcp://127.0.0.1:1',
    'tcp://169.254.1.1:1',
    'tcp://router.lan:80',
    'tcp://10.0.0.1',
    'tcp://224.0.0.1:1',
  ]
  assert.deepEqual(announcedAddresses(heard, '192.168.1.4'), ['tcp://192.168.1.9:1', 'tcp://203.0.113.9:1'])
  assert.deepEqual(announcedAddresses(heard, 'fe80::1'), ['tcp://192.168.1.9:1', 'tcp://203.0.113.9:1'])
  assert.deepEqual(announcedAddresses(heard, '127.0.0.1'), ['tcp://192.168.1.9:1', 'tcp://203.0.113.9:1', 'tcp://127.0.0.1:1'])
})
