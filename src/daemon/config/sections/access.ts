import type { ApiKeyRecord } from '../../../access/sources.ts'
import { formatRule, type RuleText } from '../../../mesh/policy-rules.ts'
import type { ConfiguredCredential } from '../../../vault/credentials/config.ts'
import { credentialsSchema } from '../../credentials/config.ts'
import { apiKeysSchema, filesSchema, grantsSchema, type NamedGrant, scopesSchema } from '../access.ts'
import { rulesSchema } from '../rules.ts'
import { type Section, setting } from '../setting.ts'

/** Who may do what, by keys and names. */
export interface AccessSettings {
  readonly 'policy.rules': readonly RuleText[]
  readonly 'access.authorized_keys': readonly string[]
  readonly 'access.revocations': readonly string[]
  readonly 'access.ssh_scopes': readonly string[]
  readonly 'access.api_keys': readonly ApiKeyRecord[]
  readonly 'access.grants': readonly NamedGrant[]
  readonly credentials: readonly ConfiguredCredential[]
}

export const ACCESS: Section<AccessSettings> = {
  'policy.rules': setting({
    schema: rulesSchema,
    fallback: [],
    dynamic: true,
    about: 'Rules behind those of kith allow and kith deny, as these print them: "allow scope:web forward db.lan:5432 --via ssh".',
    show: (rules) => JSON.stringify(rules.map(formatRule)),
  }),
  'access.authorized_keys': setting({
    schema: filesSchema,
    fallback: [],
    dynamic: true,
    about: 'Files of keys that log in and of authorities that sign certificates, as OpenSSH reads them. Read at start and by kith config reload.',
  }),
  'access.revocations': setting({
    schema: filesSchema,
    fallback: [],
    dynamic: true,
    about: 'Lists of what does not count any more: as ssh-keygen -k makes them, or text.',
  }),
  'access.ssh_scopes': setting({
    schema: scopesSchema,
    fallback: [],
    dynamic: true,
    about: 'Scopes of everybody who comes in by an SSH key, certificate or token.',
  }),
  'access.api_keys': setting({
    schema: apiKeysSchema,
    fallback: [],
    dynamic: true,
    about: 'API keys by name, a table each: [access.api_keys.NAME] with hash, scopes, resources, expires. Never a key itself.',
    show: (keys) => JSON.stringify(keys.map(({ name }) => name)),
  }),
  'access.grants': setting({
    schema: grantsSchema,
    fallback: [],
    dynamic: true,
    about: 'Scopes of principals, a table each: [access.grants."ssh:SHA256:..."] with scopes, resources, did.',
    show: (grants) => JSON.stringify(grants.map(({ principal }) => principal)),
  }),
  credentials: setting({
    schema: credentialsSchema,
    fallback: [],
    dynamic: true,
    about: 'Credentials of services, a table each: [credentials.NAME] with type and secret_file. Never a secret itself.',
    show: (entries) => JSON.stringify(entries.map(({ key }) => key.service)),
  }),
}
