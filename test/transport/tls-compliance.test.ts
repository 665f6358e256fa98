import { transportCompliance } from './compliance.ts'
import { setup } from './setups/tls.ts'

transportCompliance('tls', setup, new URL('./setups/tls.ts', import.meta.url))
