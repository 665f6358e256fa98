import { quicAvailability } from '../../transport/quic/index.ts'
import { checkCertificate } from './certificate.ts'
import { checkHardware, checkSeal } from './hardware.ts'
import { checkKeyAge } from './key-age.ts'
import { checkKeystore } from './keystore.ts'
import { checkMdns, checkPorts } from './network.ts'
import { checkRecovery } from './recovery.ts'
import { checkClock, checkCoreDumps, checkMemory, checkPermissions, checkVersions } from './system.ts'
import { bad, type Check, type DoctorCheck, type DoctorInput, fine } from './types.ts'
import { checkUdp } from './udp.ts'
import { checkVaults } from './vault.ts'

export type { DoctorCheck, DoctorInput } from './types.ts'

const checkQuic: Check = async () => {
  const { ok, reason } = quicAvailability()
  if (ok) return fine('quic', 'available')
  return bad('quic', `not available: ${reason ?? 'unknown reason'}`, 'nothing must be done: links run over tcp')
}

const checkDaemon: Check = async ({ daemon, home }) => {
  if (daemon === undefined) return fine('daemon', `not running for ${home}`)
  const trouble = daemon.degraded[0]
  if (trouble === undefined) return fine('daemon', `running, pid ${daemon.pid}`)
  return bad('daemon', `running with trouble: ${trouble.message}`, trouble.next ?? 'kith logs')
}

const CHECKS: readonly Check[] = [
  checkVersions,
  checkDaemon,
  checkKeystore,
  checkKeyAge,
  checkRecovery,
  checkHardware,
  checkSeal,
  checkVaults,
  checkCertificate,
  checkPermissions,
  checkMemory,
  checkCoreDumps,
  checkClock,
  checkPorts,
  checkUdp,
  checkMdns,
  checkQuic,
]

/** All checks, in a fixed order. A check that cannot look says so instead of ending the others. */
export async function examine(input: DoctorInput): Promise<readonly DoctorCheck[]> {
  const results = await Promise.all(
    CHECKS.map(async (check): Promise<DoctorCheck | readonly DoctorCheck[]> => {
      try {
        return await check(input)
      } catch (error) {
        input.signal.throwIfAborted()
        return bad(
          check.name.replace(/^check/, '').toLowerCase(),
          `could not be checked: ${error instanceof Error ? error.message : 'unknown'}`,
          'kith doctor --debug',
        )
      }
    }),
  )
  return results.flat()
}
