import { transportCompliance } from './compliance.ts'
import { setup } from './setups/quic.ts'

transportCompliance('quic', setup, new URL('./setups/quic.ts', import.meta.url))
