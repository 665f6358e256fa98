import type { Device } from '../identity/types.ts'

type Shown = Pick<Device, 'didKey' | 'linkSigner' | 'chain' | 'binding'>

/** The device as it is at each moment, for what outlives a renewal of it. */
export function currentDevice(device: () => Shown): Shown {
  return {
    get didKey() {
      return device().didKey
    },
    get linkSigner() {
      return device().linkSigner
    },
    get chain() {
      return device().chain
    },
    get binding() {
      return device().binding
    },
  }
}
