import { transportCompliance } from './compliance.ts'
import { setup } from './setups/tcp.ts'

transportCompliance('tcp', setup, new URL('./setups/tcp.ts', import.meta.url))
