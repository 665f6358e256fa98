import { createSocket } from 'node:dgram'
import { withoutToken } from '../../transport/wss/address.ts'
import { bindUdp, closeUdp, reasonOf, tryListen, wantedAddresses } from './sockets.ts'
import { bad, type Check, type DoctorCheck, fine } from './types.ts'

const MDNS_PORT = 5353
const MDNS_GROUP = '224.0.0.251'

/** The addresses the node would listen on: free, or taken by whom it matters. */
export const checkPorts: Check = async ({ home, config, daemon }) => {
  if (daemon !== undefined && daemon.listen.length > 0) return fine('ports', `the node listens on ${daemon.listen.map(withoutToken).join(', ')}`)
  const wanted = await wantedAddresses(home, config)
  const found: DoctorCheck[] = []
  for (const address of wanted) {
    const { scheme, host, port } = address
    if (port === 0) continue
    const error = await tryListen(address)
    if (error === undefined) continue
    const taken = error === 'EADDRINUSE'
    const help = config.listen.length > 0 ? `kith up --listen ${scheme}://${host}:${port + 1}` : 'kith up (it takes the next free port and says which)'
    found.push(bad('ports', `${scheme}://${host}:${port} ${taken ? 'is taken by another program' : `cannot be used (${error})`}`, help))
  }
  return found.length > 0 ? found : fine('ports', `free: ${wanted.map(({ scheme, host, port }) => `${scheme}://${host}:${port}`).join(', ')}`)
}

/** Whether this machine may take part in multicast DNS. */
export const checkMdns: Check = async ({ config }) => {
  if (!config['discovery.mdns']) return fine('mdns', 'switched off (discovery.mdns)')
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  try {
    await bindUdp(socket, '0.0.0.0', MDNS_PORT)
    socket.addMembership(MDNS_GROUP)
    return fine('mdns', 'multicast on the local network can be used')
  } catch (error) {
    return bad('mdns', `multicast DNS cannot be used (${reasonOf(error)})`, 'set discovery.mdns = false, or let the other program share UDP port 5353')
  } finally {
    closeUdp(socket)
  }
}
