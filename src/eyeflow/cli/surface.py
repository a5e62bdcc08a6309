"""Help pages and completions of every command. Generated from the commands by `tools/gen_surface.py`: do not edit."""
# fmt: off

from __future__ import annotations

Words = tuple[tuple[str, str], ...]
"""Words to complete, each with its help, which may be empty."""

Option = tuple[tuple[str, ...], str, Words | None, bool]
"""An option: its names, its help, the values known for it (None: it takes no value), whether it may be given again."""

DYNAMIC: Words = (("", "only code knows"),)
"""Stands for values that the command itself must be asked for."""

MODULES: dict[str, str] = {'check': 'rules',
 'fmt': 'rules',
 'compile': 'rules',
 'explain': 'rules',
 'test': 'testing',
 'run': 'running',
 'inspect': 'programs',
 'sign': 'programs',
 'deploy': 'deploy',
 'diff': 'deploy',
 'remove': 'deploy',
 'deployments': 'deployments',
 'status': 'status',
 'nodes': 'nodes',
 'alarms': 'alarms',
 'keys': 'keys',
 'tokens': 'tokens',
 'policy': 'policy',
 'coordinator': 'coordinator',
 'node': 'node',
 'buffer': 'buffer',
 'executions': 'executions',
 'why': 'why',
 'audit': 'audit',
 'mcu': 'mcu'}
"""Which module of `eyeflow.cli` registers a command."""

COMMANDS: dict[str, Words] = {'': (('check', 'Say whether rules are right, without...'),
      ('fmt', 'Format rules in the one style.'),
      ('compile', 'Compile rules to .svm programs, and print...'),
      ('explain', 'Explain a diagnostic code, with an example...'),
      ('test', 'Run the tests of rules.'),
      ('run', 'Run a rule on recorded events and show...'),
      ('inspect', 'Show what a program is: header, proven...'),
      ('sign', 'Add a signature to a program; its id does...'),
      ('deploy', 'Bring a rule to nodes, or what changed in...'),
      ('diff', 'Show for each node what deploying a folder...'),
      ('remove', 'Take a rule off nodes: they stop running...'),
      ('status', 'Show the cluster: its nodes, what they run...'),
      ('executions', 'List the newest executions, the last one...'),
      ('why', 'Explain one execution, and let its program...'),
      ('deployments', 'See, follow and steer deployments; without...'),
      ('nodes', 'See, label, drain and forget nodes;...'),
      ('alarms', 'See what needs a person, and take note of...'),
      ('keys', 'Signing keys, and whose programs to trust.'),
      ('tokens', 'Who may use the coordinator, and for what.'),
      ('policy', 'What deployments to some nodes must keep.'),
      ('coordinator', 'The service that keeps the state of the...'),
      ('node', 'The daemon that runs programs.'),
      ('buffer', 'What a node keeps until others hold it,...'),
      ('audit', 'The record of everything a node did.'),
      ('mcu', 'Microcontrollers: build, flash and talk to...')),
 'deployments': (('list', 'List the newest deployments, newest first.'),
                 ('show', 'Show a deployment: its step, verdict and...'),
                 ('watch', 'Follow a deployment to its end.'),
                 ('pause', 'Let a deployment begin nothing new; a...'),
                 ('resume', 'Let a deployment go on that somebody paused.'),
                 ('promote', 'Let a deployment take its next step...'),
                 ('approve', 'Agree to a deployment that waits for a...'),
                 ('cancel', 'End a deployment early: its nodes go back...'),
                 ('rollback', 'Take back a deployment that succeeded.'),
                 ('retry', 'Start a deployment that has ended again,...')),
 'nodes': (('list', 'List the nodes of the cluster, all or...'),
           ('show', 'Show a node: what it runs and how it does.'),
           ('label', 'Set labels of a node, or remove them:...'),
           ('drain', 'Take all rules off a node; until...'),
           ('undrain', 'Let deployments go to a node again that...'),
           ('forget', 'Take a node out of the cluster; it goes on...'),
           ('quarantine', 'Set a node aside: nothing is deployed to...'),
           ('accept', 'Forget what contradicts what a node has...')),
 'alarms': (('list', 'List the newest alarms that last, newest...'),
            ('show', 'Show an alarm: since when, the evidence,...'),
            ('acknowledge', 'Take note of an alarm under the name of...')),
 'keys': (('new', 'Make a signing key, and trust it on this...'),
          ('list', 'List your signing keys and the keys you...'),
          ('show', 'Show the public part of a key.'),
          ('trust', 'Trust the programs that a key signs.'),
          ('revoke', 'Trust a key no more.'),
          ('root', 'An offline key that says whose programs...')),
 'keys root': (('new', 'Make a root key.'),
               ('sign', 'Sign the list of those who may sign programs.'),
               ('show', 'Show a list of signers, and check that its...'),
               ('publish', 'Give a signed list to the coordinator,...')),
 'tokens': (('new', 'Make an API token for a person or a CI...'),
            ('list', 'List the API tokens, never their secrets.'),
            ('revoke', 'Let an API token work no more, from this...')),
 'policy': (('show', 'Show the policy that holds now.'),
            ('check', 'Check a policy and show which nodes each...'),
            ('apply', 'Make a file the policy: it holds for...')),
 'coordinator': (('start', 'Run the coordinator until Ctrl-C, SIGTERM...'),
                 ('init', "Make a CA of the cluster's own and a..."),
                 ('backup', "Write the coordinator's store, keys and CA..."),
                 ('restore', 'Put a backup back while the coordinator...'),
                 ('join-token', 'Make a token with which one node can join...'),
                 ('sign-in', 'Make a link that signs a browser in to the...'),
                 ('sign-out', 'End all sessions of browsers that your...'),
                 ('log', 'Show who changed what, or check that...'),
                 ('login', 'Keep where the coordinator is and an API...')),
 'node': (('init', 'Write a configuration file with comments.'),
          ('join', 'Let a node join a cluster: registers its...'),
          ('kafka-setup', 'Bring Apache Kafka here, for a node with a...'),
          ('start', 'Run the node until Ctrl-C, SIGTERM or SIGHUP.'),
          ('install-service', 'Print the systemd unit of a node, or write...'),
          ('status', 'Show the node that runs on this machine;...'),
          ('boards', 'The boards behind this node.')),
 'node boards': (('list', 'List the boards behind this node, and...'),
                 ('adopt', "Let this node own a board's line and speak..."),
                 ('rename', 'Give an adopted board another name.'),
                 ('release', "Give a board's line back and forget it;...")),
 'buffer': (('status', "Show how much waits in a node's buffer,..."),
            ('peek', 'Show the records that go to a destination...'),
            ('export', 'Write the records that a destination does...')),
 'audit': (('verify', "Check the hash chain of a node's audit:..."),
           ('show', 'Show audit records: what happened, why,...'),
           ('export', 'Write an audit, or a part of it, to a file...')),
 'mcu': (('push', 'Send a program to a running board; it is...'),
         ('list', 'List the programs on a board.'),
         ('remove', 'Remove a rule from a board.'),
         ('status', 'Show a board: firmware, memory, scans, and...'),
         ('flash', 'Write a built firmware to a board with...'),
         ('log', 'Show the execution records that wait on a...'),
         ('monitor', 'Show what a board and its rules log, until...'),
         ('sim', 'Run firmware without a board: pins, analog...'),
         ('chips', 'List the chips that firmware can be built...'),
         ('new', 'Write a board file with comments: pins,...'),
         ('build', 'Build the firmware of a board: writes a...'),
         ('size', 'Show what a built firmware takes, with its...'))}
"""The commands of each group. A command is named by its words after `eyeflow`; the empty name is `eyeflow` itself."""

ALONE: dict[str, str] = {'deployments': 'See, follow and steer deployments; without a command: list them.',
 'nodes': 'See, label, drain and forget nodes; without a command: list them.',
 'alarms': 'See what needs a person, and take note of it; without a command: list the alarms that last.'}
"""The groups that do something without a command: what."""

OPTIONS: dict[str, tuple[Option, ...]] = {'': ((('--version',), 'Show the version and exit.', None, False),
      (('--install-completion',), 'Install completion for the current shell.', None, False),
      (('--show-completion',),
       'Show completion for the current shell, to copy it or customize the installation.',
       None,
       False),
      (('--help', '-h'), 'Show this message and exit.', None, False)),
 'check': ((('--profile',),
            'What the rule may use (default: linux, or mcu for a rule that needs what only boards have).',
            (('linux', ''), ('mcu', '')),
            False),
           (('--target',), 'Compile for this chip (implies --profile mcu): STM32F401CC.', (), False),
           (('--board',),
            'Compile for the chip of this board file, and check pins and buses against it.',
            (),
            False),
           (('--catalog',), 'A TOML file with more capabilities; may be given again.', (), True),
           (('--format',), 'How to show diagnostics.', (('text', ''), ('concise', ''), ('github', '')), False),
           (('--json',), 'Print the result as JSON.', None, False),
           (('--help', '-h'), 'Show this message and exit.', None, False)),
 'fmt': ((('--check',), 'Change nothing; fail if a file would change.', None, False),
         (('--diff',), 'Change nothing; print what would change.', None, False),
         (('--json',), 'Print the result as JSON.', None, False),
         (('--help', '-h'), 'Show this message and exit.', None, False)),
 'compile': ((('--out', '-o'), 'The program file, or a folder when there are several rules.', (), False),
             (('--emit',),
              'Print this phase instead of writing a program.',
              (('tokens', ''), ('ast', ''), ('typed', ''), ('ir', ''), ('asm', '')),
              False),
             (('--sign',), 'Sign with this key of your keyring.', (), False),
             (('--sequence',), 'Anti-rollback number (default: from the version).', (), False),
             (('--profile',),
              'What the rule may use (default: linux, or mcu for a rule that needs what only boards have).',
              (('linux', ''), ('mcu', '')),
              False),
             (('--target',), 'Compile for this chip (implies --profile mcu): STM32F401CC.', (), False),
             (('--board',),
              'Compile for the chip of this board file, and check pins and buses against it.',
              (),
              False),
             (('--catalog',), 'A TOML file with more capabilities; may be given again.', (), True),
             (('--format',), 'How to show diagnostics.', (('text', ''), ('concise', ''), ('github', '')), False),
             (('--json',), 'Print the result as JSON.', None, False),
             (('--help', '-h'), 'Show this message and exit.', None, False)),
 'explain': ((('--json',), 'Print the result as JSON.', None, False),
             (('--help', '-h'), 'Show this message and exit.', None, False)),
 'test': ((('--cov',), 'Show which branches of the rules no test took.', None, False),
          (('--cov-min',), 'Fail below this branch coverage.', (), False),
          (('--junit',), 'Also write the results to this JUnit XML file.', (), False),
          (('--upload',), 'Tell the coordinator the results: the dashboard shows them.', None, False),
          (('-k',), 'Only tests whose name holds this text.', (), False),
          (('--profile',),
           'What the rule may use (default: linux, or mcu for a rule that needs what only boards have).',
           (('linux', ''), ('mcu', '')),
           False),
          (('--target',), 'Compile for this chip (implies --profile mcu): STM32F401CC.', (), False),
          (('--board',),
           'Compile for the chip of this board file, and check pins and buses against it.',
           (),
           False),
          (('--catalog',), 'A TOML file with more capabilities; may be given again.', (), True),
          (('--format',), 'How to show diagnostics.', (('text', ''), ('concise', ''), ('github', '')), False),
          (('--json',), 'Print the result as JSON.', None, False),
          (('--help', '-h'), 'Show this message and exit.', None, False)),
 'run': ((('--events',),
          'Recorded events: a CSV or JSON Lines file, or - for stdin. May be given again; NAME is the handler.',
          (),
          True),
         (('--read',), "What answers a read: 'adc.read_channel(0)=value'.", (), True),
         (('--param',), 'Set a parameter of the rule.', (), True),
         (('--trigger',), "The handler's event name, when several could take them.", (), False),
         (('--stream',), 'The column that names the handler of each event.', (), False),
         (('--timestamp',), 'The column with the time.', (), False),
         (('--period',), 'The file has no times: one event each so long.', (), False),
         (('--speed',), '1 as recorded, 60 a minute in a second, or max.', (), False),
         (('--timezone',), 'For local time words: Europe/Berlin.', (), False),
         (('--repeats',), 'Show also actions that repeat the level a pin already has.', None, False),
         (('--summary',), 'Print only the summary.', None, False),
         (('--catalog',), 'A TOML file with more capabilities; may be given again.', (), True),
         (('--json',), 'Print the result as JSON.', None, False),
         (('--help', '-h'), 'Show this message and exit.', None, False)),
 'inspect': ((('--disasm',), 'Show the instructions with the source line of each.', None, False),
             (('--source',), 'The rule file, for its lines in --disasm.', (), False),
             (('--json',), 'Print the result as JSON.', None, False),
             (('--help', '-h'), 'Show this message and exit.', None, False)),
 'sign': ((('--key',), 'The key of your keyring to sign with.', (), False),
          (('--json',), 'Print the result as JSON.', None, False),
          (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deploy': ((('--nodes',), 'The nodes, by name.', (), False),
            (('--label',), 'Nodes with this label; again: and this one.', (), True),
            (('--all',), 'All nodes of the cluster that are not drained.', None, False),
            (('--exclude',), 'Leave these nodes out.', (), False),
            (('--strategy',),
             'How to roll it out.',
             (('immediate', ''), ('rolling', ''), ('canary', ''), ('blue_green', ''), ('shadow', '')),
             False),
            (('--batch',), 'rolling: how many nodes at once, or which share of them.', (), False),
            (('--observe',), 'How long to watch after each step, such as 60s.', (), False),
            (('--percent',), 'canary: the shares of the traffic in percent, ascending.', (), False),
            (('--samples',), 'How many executions a verdict needs.', (), False),
            (('--max-failures',), 'Failed executions that are fine.', (), False),
            (('--rollback-on-error', '--no-rollback'), 'Put changed nodes back when one fails.', None, False),
            (('--param',), 'Set a parameter; of a folder: RULE.NAME=VALUE.', (), True),
            (('--prune',), 'With a folder: remove the rules of the nodes that are not in it.', None, False),
            (('--sign',), 'The key to sign a rule with.', (), False),
            (('--wait', '--no-wait'), 'Follow it to its end.', None, False),
            (('--timeout',), 'How long to wait: 60s where nothing is watched, else until it has ended.', (), False),
            (('--dry-run',), 'Only tell what would happen: programs, state, what nodes cannot run.', None, False),
            (('--replay',),
             'First let the nodes try it on their recorded events of so much time, such as 24h, and show what '
             'differs.',
             (),
             False),
            (('--replay-timeout',), 'How long nodes may take for --replay.', (), False),
            (('--fail-on-difference',),
             'With --replay: stop, with exit code 1, if a decision differs or none is compared.',
             None,
             False),
            (('--yes',), 'After --replay: go on without asking.', None, False),
            (('--catalog',), 'A TOML file with more capabilities; may be given again.', (), True),
            (('--source', '--no-source'),
             "Upload the rule's text and how its tests go, too, for `why` and the dashboard.",
             None,
             False),
            (('--json',), 'Print the result as JSON.', None, False),
            (('--help', '-h'), 'Show this message and exit.', None, False)),
 'diff': ((('--nodes',), 'The nodes, by name.', (), False),
          (('--label',), 'Nodes with this label; again: and this one.', (), True),
          (('--all',), 'All nodes of the cluster that are not drained.', None, False),
          (('--exclude',), 'Leave these nodes out.', (), False),
          (('--param',), 'Set a parameter of a rule.', (), True),
          (('--prune',), 'Rules that are not in the folder would be removed.', None, False),
          (('--catalog',), 'A TOML file with more capabilities; may be given again.', (), True),
          (('--json',), 'Print the result as JSON.', None, False),
          (('--help', '-h'), 'Show this message and exit.', None, False)),
 'remove': ((('--nodes',), 'The nodes, by name.', (), False),
            (('--label',), 'Nodes with this label; again: and this one.', (), True),
            (('--all',), 'All nodes of the cluster that are not drained.', None, False),
            (('--exclude',), 'Leave these nodes out.', (), False),
            (('--json',), 'Print the result as JSON.', None, False),
            (('--help', '-h'), 'Show this message and exit.', None, False)),
 'status': ((('--filter',),
             'Only these nodes; again: or these.',
             (('failing', ''), ('offline', ''), ('pending', ''), ('drained', ''), ('fine', '')),
             True),
            (('--label',), 'Nodes with this label; again: and this one.', (), True),
            (('--sort',),
             'Which nodes come first.',
             (('worst', ''), ('name', ''), ('heard', ''), ('executions', ''), ('errors', '')),
             False),
            (('--limit',), 'Nodes on a page: 50, and all with --json.', (), False),
            (('--page',), 'Which page.', (), False),
            (('--watch',), 'Show it as it changes, until Ctrl-C.', None, False),
            (('--json',), 'Print the result as JSON.', None, False),
            (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deployments': ((('--json',), 'Print the result as JSON.', None, False),
                 (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deployments list': ((('--rule',), 'Deployments of this rule.', (), False),
                      (('--node',), 'Deployments to this node.', (), False),
                      (('--open',), 'Deployments that have not ended.', None, False),
                      (('--limit',), 'How many.', (), False),
                      (('--json',), 'Print the result as JSON.', None, False),
                      (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deployments show': ((('--json',), 'Print the result as JSON.', None, False),
                      (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deployments watch': ((('--timeout',),
                        'How long to wait: 60s where nothing is watched, else until it has ended.',
                        (),
                        False),
                       (('--json',), 'Print the result as JSON.', None, False),
                       (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deployments pause': ((('--json',), 'Print the result as JSON.', None, False),
                       (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deployments resume': ((('--json',), 'Print the result as JSON.', None, False),
                        (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deployments promote': ((('--json',), 'Print the result as JSON.', None, False),
                         (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deployments approve': ((('--json',), 'Print the result as JSON.', None, False),
                         (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deployments cancel': ((('--json',), 'Print the result as JSON.', None, False),
                        (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deployments rollback': ((('--json',), 'Print the result as JSON.', None, False),
                          (('--help', '-h'), 'Show this message and exit.', None, False)),
 'deployments retry': ((('--json',), 'Print the result as JSON.', None, False),
                       (('--help', '-h'), 'Show this message and exit.', None, False)),
 'nodes': ((('--json',), 'Print the result as JSON.', None, False),
           (('--help', '-h'), 'Show this message and exit.', None, False)),
 'nodes list': ((('--label',), 'Nodes with this label; again: and this one.', (), True),
                (('--rule',), 'Nodes that shall run this rule.', (), False),
                (('--name',), 'Nodes with this in their name.', (), False),
                (('--json',), 'Print the result as JSON.', None, False),
                (('--help', '-h'), 'Show this message and exit.', None, False)),
 'nodes show': ((('--state',), 'The state variables of its rules, too.', None, False),
                (('--json',), 'Print the result as JSON.', None, False),
                (('--help', '-h'), 'Show this message and exit.', None, False)),
 'nodes label': ((('--json',), 'Print the result as JSON.', None, False),
                 (('--help', '-h'), 'Show this message and exit.', None, False)),
 'nodes drain': ((('--yes',), 'Do not ask.', None, False),
                 (('--json',), 'Print the result as JSON.', None, False),
                 (('--help', '-h'), 'Show this message and exit.', None, False)),
 'nodes undrain': ((('--json',), 'Print the result as JSON.', None, False),
                   (('--help', '-h'), 'Show this message and exit.', None, False)),
 'nodes forget': ((('--json',), 'Print the result as JSON.', None, False),
                  (('--help', '-h'), 'Show this message and exit.', None, False)),
 'nodes quarantine': ((('--reason',), 'Why, for others.', (), False),
                      (('--json',), 'Print the result as JSON.', None, False),
                      (('--help', '-h'), 'Show this message and exit.', None, False)),
 'nodes accept': ((('--ahead',), 'All nodes that have a newer manifest: the store is an old copy.', None, False),
                  (('--json',), 'Print the result as JSON.', None, False),
                  (('--help', '-h'), 'Show this message and exit.', None, False)),
 'alarms': ((('--json',), 'Print the result as JSON.', None, False),
            (('--help', '-h'), 'Show this message and exit.', None, False)),
 'alarms list': ((('--node',), 'Alarms of this node.', (), False),
                 (('--all',), 'Those that have ended, too.', None, False),
                 (('--new',), 'Those of which nobody has taken note.', None, False),
                 (('--limit',), 'How many.', (), False),
                 (('--json',), 'Print the result as JSON.', None, False),
                 (('--help', '-h'), 'Show this message and exit.', None, False)),
 'alarms show': ((('--json',), 'Print the result as JSON.', None, False),
                 (('--help', '-h'), 'Show this message and exit.', None, False)),
 'alarms acknowledge': ((('--note',), 'What others should know.', (), False),
                        (('--json',), 'Print the result as JSON.', None, False),
                        (('--help', '-h'), 'Show this message and exit.', None, False)),
 'keys': ((('--help', '-h'), 'Show this message and exit.', None, False),),
 'keys new': ((('--passphrase',), 'Encrypt the key file; asks, or reads EYEFLOW_PASSPHRASE.', None, False),
              (('--json',), 'Print the result as JSON.', None, False),
              (('--help', '-h'), 'Show this message and exit.', None, False)),
 'keys list': ((('--json',), 'Print the result as JSON.', None, False),
               (('--help', '-h'), 'Show this message and exit.', None, False)),
 'keys show': ((('--json',), 'Print the result as JSON.', None, False),
               (('--help', '-h'), 'Show this message and exit.', None, False)),
 'keys trust': ((('--name',), 'What to call it here.', (), False),
                (('--cluster',), "Also let the coordinator's cluster trust it.", None, False),
                (('--json',), 'Print the result as JSON.', None, False),
                (('--help', '-h'), 'Show this message and exit.', None, False)),
 'keys revoke': ((('--cluster',), "Also let the coordinator's cluster trust it no more.", None, False),
                 (('--json',), 'Print the result as JSON.', None, False),
                 (('--help', '-h'), 'Show this message and exit.', None, False)),
 'keys root': ((('--help', '-h'), 'Show this message and exit.', None, False),),
 'keys root new': ((('--passphrase',), 'Encrypt the key file; asks, or reads EYEFLOW_PASSPHRASE.', None, False),
                   (('--json',), 'Print the result as JSON.', None, False),
                   (('--help', '-h'), 'Show this message and exit.', None, False)),
 'keys root sign': ((('--signer',), 'A key in hex, or a .pub file; may be repeated. All of them.', (), True),
                    (('--need',),
                     'How many of them sign each program: 2, or 2:rule=pump*,node=node-prod-*,label=site=lyon '
                     'where all of that fits; may be repeated. 1 ends it.',
                     (),
                     True),
                    (('--key',), 'Name of the root key.', (), False),
                    (('--valid',), 'How long nodes take new programs by it; or forever.', (), False),
                    (('--json',), 'Print the result as JSON.', None, False),
                    (('--help', '-h'), 'Show this message and exit.', None, False)),
 'keys root show': ((('--json',), 'Print the result as JSON.', None, False),
                    (('--help', '-h'), 'Show this message and exit.', None, False)),
 'keys root publish': ((('--json',), 'Print the result as JSON.', None, False),
                       (('--help', '-h'), 'Show this message and exit.', None, False)),
 'tokens': ((('--help', '-h'), 'Show this message and exit.', None, False),),
 'tokens new': ((('--role',), 'What it may do.', (('admin', ''), ('deploy', ''), ('read', '')), False),
                (('--valid',), 'How long it works: 8h, 90d, or forever.', (), False),
                (('--label',), 'Only for nodes with this label; again: and this one.', (), True),
                (('--person',),
                 'Whose it is, when a person has several: nobody approves what they asked.',
                 (),
                 False),
                (('--json',), 'Print the result as JSON.', None, False),
                (('--help', '-h'), 'Show this message and exit.', None, False)),
 'tokens list': ((('--json',), 'Print the result as JSON.', None, False),
                 (('--help', '-h'), 'Show this message and exit.', None, False)),
 'tokens revoke': ((('--json',), 'Print the result as JSON.', None, False),
                   (('--help', '-h'), 'Show this message and exit.', None, False)),
 'policy': ((('--help', '-h'), 'Show this message and exit.', None, False),),
 'policy show': ((('--json',), 'Print the result as JSON.', None, False),
                 (('--help', '-h'), 'Show this message and exit.', None, False)),
 'policy check': ((('--json',), 'Print the result as JSON.', None, False),
                  (('--help', '-h'), 'Show this message and exit.', None, False)),
 'policy apply': ((('--json',), 'Print the result as JSON.', None, False),
                  (('--help', '-h'), 'Show this message and exit.', None, False)),
 'coordinator': ((('--help', '-h'), 'Show this message and exit.', None, False),),
 'coordinator start': ((('--host',), 'Address to listen on.', (), False),
                       (('--port',), 'Port; 0: any free one.', (), False),
                       (('--data-dir',), 'Where it keeps its store (default: ~/.local/share/eyeflow).', (), False),
                       (('--store',),
                        'PostgreSQL database that several coordinators share: postgresql://USER@HOST/DATABASE. Its '
                        'password belongs in this variable or in ~/.pgpass: what stands in a command, others see. '
                        'Default: one SQLite file.',
                        (),
                        False),
                       (('--archive-max-mb',), "Bound of the copies of the nodes' audit.", (), False),
                       (('--archive-max-days',), 'Older records go from the copies; 0: only by size.', (), False),
                       (('--tls-cert',), 'Certificate chain, PEM.', (), False),
                       (('--tls-key',), 'Private key of the certificate, PEM.', (), False),
                       (('--insecure',),
                        'Listen beyond loopback without TLS: another layer protects the network.',
                        None,
                        False),
                       (('--log-format',), 'How to write the log.', (('text', ''), ('json', '')), False),
                       (('--json',), 'Print the result as JSON.', None, False),
                       (('--help', '-h'), 'Show this message and exit.', None, False)),
 'coordinator init': ((('--name',),
                       'Host name or address at which nodes and people reach it; may be repeated.',
                       (),
                       True),
                      (('--new-ca',),
                       'Replace the CA. Nodes follow by themselves; the old one vouches for it.',
                       None,
                       False),
                      (('--forget-old-ca',), 'Take no certificate of an earlier CA any more.', None, False),
                      (('--data-dir',), 'Where it keeps its store (default: ~/.local/share/eyeflow).', (), False),
                      (('--json',), 'Print the result as JSON.', None, False),
                      (('--help', '-h'), 'Show this message and exit.', None, False)),
 'coordinator backup': ((('--data-dir',), 'Where it keeps its store (default: ~/.local/share/eyeflow).', (), False),
                        (('--archive',), "With the second copy of the nodes' audit; it may be large.", None, False),
                        (('--json',), 'Print the result as JSON.', None, False),
                        (('--help', '-h'), 'Show this message and exit.', None, False)),
 'coordinator restore': ((('--data-dir',),
                          'Where it keeps its store (default: ~/.local/share/eyeflow).',
                          (),
                          False),
                         (('--json',), 'Print the result as JSON.', None, False),
                         (('--help', '-h'), 'Show this message and exit.', None, False)),
 'coordinator join-token': ((('--valid',), 'How long it can be used.', (), False),
                            (('--json',), 'Print the result as JSON.', None, False),
                            (('--help', '-h'), 'Show this message and exit.', None, False)),
 'coordinator sign-in': ((('--json',), 'Print the result as JSON.', None, False),
                         (('--help', '-h'), 'Show this message and exit.', None, False)),
 'coordinator sign-out': ((('--json',), 'Print the result as JSON.', None, False),
                          (('--help', '-h'), 'Show this message and exit.', None, False)),
 'coordinator log': ((('--last', '-n'), 'How many entries to show.', (), False),
                     (('--who',), 'Only what this token or node did.', (), False),
                     (('--verify',),
                      'Check the whole log, also against what you saw at the last check.',
                      None,
                      False),
                     (('--json',), 'Print the result as JSON.', None, False),
                     (('--help', '-h'), 'Show this message and exit.', None, False)),
 'coordinator login': ((('--ca-file',), "PEM file that signs the coordinator's certificate.", (), False),
                       (('--fingerprint',), "Of the coordinator's CA, from `eyeflow coordinator init`.", (), False),
                       (('--help', '-h'), 'Show this message and exit.', None, False)),
 'node': ((('--help', '-h'), 'Show this message and exit.', None, False),),
 'node init': ((('--out', '-o'), 'The file to write.', (), False),
               (('--force',), 'Overwrite the file.', None, False),
               (('--help', '-h'), 'Show this message and exit.', None, False)),
 'node install-service': ((('--config',),
                           'Configuration file (default: eyeflow-svm.toml, if it is there).',
                           (),
                           False),
                          (('--user',), 'Who runs the node (default: you).', (), False),
                          (('--write',), 'Write it into /etc/systemd/system, instead of to stdout.', None, False),
                          (('--json',), 'Print the result as JSON.', None, False),
                          (('--help', '-h'), 'Show this message and exit.', None, False)),
 'node boards': ((('--help', '-h'), 'Show this message and exit.', None, False),),
 'buffer': ((('--help', '-h'), 'Show this message and exit.', None, False),),
 'audit': ((('--help', '-h'), 'Show this message and exit.', None, False),),
 'mcu': ((('--help', '-h'), 'Show this message and exit.', None, False),),
 'mcu push': ((('--port', '-p'),
               'Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of the simulator.',
               DYNAMIC,
               False),
              (('--baud',), "Baud rate of the board's link, as in its board file.", (), False),
              (('--timeout',),
               'In which the board must answer; what erases flash or checks a signature has eight times as long.',
               (),
               False),
              (('--sign',), 'The key to sign a rule with.', (), False),
              (('--board',), 'The board file (default: board.toml, if it is there).', (), False),
              (('--param',), 'Set a parameter of the rule; the board keeps it.', (), True),
              (('--force',), 'Behind a node: also a rule that the cluster deployed to the board.', None, False),
              (('--json',), 'Print the result as JSON.', None, False),
              (('--help', '-h'), 'Show this message and exit.', None, False)),
 'mcu list': ((('--port', '-p'),
               'Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of the simulator.',
               DYNAMIC,
               False),
              (('--baud',), "Baud rate of the board's link, as in its board file.", (), False),
              (('--timeout',),
               'In which the board must answer; what erases flash or checks a signature has eight times as long.',
               (),
               False),
              (('--json',), 'Print the result as JSON.', None, False),
              (('--help', '-h'), 'Show this message and exit.', None, False)),
 'mcu remove': ((('--port', '-p'),
                 'Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of the simulator.',
                 DYNAMIC,
                 False),
                (('--baud',), "Baud rate of the board's link, as in its board file.", (), False),
                (('--timeout',),
                 'In which the board must answer; what erases flash or checks a signature has eight times as long.',
                 (),
                 False),
                (('--json',), 'Print the result as JSON.', None, False),
                (('--help', '-h'), 'Show this message and exit.', None, False)),
 'mcu status': ((('--port', '-p'),
                 'Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of the simulator.',
                 DYNAMIC,
                 False),
                (('--baud',), "Baud rate of the board's link, as in its board file.", (), False),
                (('--timeout',),
                 'In which the board must answer; what erases flash or checks a signature has eight times as long.',
                 (),
                 False),
                (('--json',), 'Print the result as JSON.', None, False),
                (('--help', '-h'), 'Show this message and exit.', None, False)),
 'mcu flash': ((('--chip',),
                'The chip, with the board file that `mcu new` writes for it.',
                (('STM32F401CC', ''), ('STM32F407VG', ''), ('STM32H743ZI', ''), ('nRF52840', ''), ('RP2040', '')),
                False),
               (('--board',), 'The board file (default: board.toml, if it is there).', (), False),
               (('--out', '-o'),
                "Folder of the Cargo project (default: firmware, with another board's or chip's name added).",
                (),
                False),
               (('--probe',), 'Which debug probe: VID:PID[:SERIAL].', (), False),
               (('--port', '-p'),
                'The serial port of the board, which a node may own (default: that of the probe).',
                DYNAMIC,
                False),
               (('--dry-run',), 'Print the commands and do nothing.', None, False),
               (('--json',), 'Print the result as JSON.', None, False),
               (('--help', '-h'), 'Show this message and exit.', None, False)),
 'mcu log': ((('--port', '-p'),
              'Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of the simulator.',
              DYNAMIC,
              False),
             (('--baud',), "Baud rate of the board's link, as in its board file.", (), False),
             (('--timeout',),
              'In which the board must answer; what erases flash or checks a signature has eight times as long.',
              (),
              False),
             (('--forget',), 'Let the board forget the records that were shown.', None, False),
             (('--node',), 'This board of the cluster, through the coordinator.', (), False),
             (('--follow', '-f'), 'With --node: go on with those that come.', None, False),
             (('--json',), 'Print the result as JSON.', None, False),
             (('--help', '-h'), 'Show this message and exit.', None, False)),
 'mcu monitor': ((('--port', '-p'),
                  'Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of the simulator.',
                  DYNAMIC,
                  False),
                 (('--baud',), "Baud rate of the board's link, as in its board file.", (), False),
                 (('--timeout',),
                  'In which the board must answer; what erases flash or checks a signature has eight times as '
                  'long.',
                  (),
                  False),
                 (('--node',), 'This board of the cluster, through the coordinator.', (), False),
                 (('--json',), 'Print the result as JSON.', None, False),
                 (('--help', '-h'), 'Show this message and exit.', None, False)),
 'mcu sim': ((('--chip',),
              'The chip, with the board file that `mcu new` writes for it.',
              (('STM32F401CC', ''), ('STM32F407VG', ''), ('STM32H743ZI', ''), ('nRF52840', ''), ('RP2040', '')),
              False),
             (('--board',), 'The board file (default: board.toml, if it is there).', (), False),
             (('--out', '-o'),
              "Folder of the Cargo project (default: firmware, with another board's or chip's name added).",
              (),
              False),
             (('--tcp',), 'TCP port of the serial line; 0: any.', (), False),
             (('--pty',), 'Put the serial line on a pseudo-terminal instead.', None, False),
             (('--adc',),
              'What the analog channels read: a CSV file with time, channel and value, or a recording of `eyeflow '
              'run`.',
              (),
              False),
             (('--flash-image',), 'A file that keeps the flash, so that programs stay.', (), False),
             (('--speed',), 'How fast virtual time goes.', (), False),
             (('--json',), 'Print the result as JSON.', None, False),
             (('--help', '-h'), 'Show this message and exit.', None, False)),
 'mcu chips': ((('--json',), 'Print the result as JSON.', None, False),
               (('--help', '-h'), 'Show this message and exit.', None, False)),
 'mcu new': ((('--chip',),
              'The chip on the board: STM32F401CC.',
              (('STM32F401CC', ''), ('STM32F407VG', ''), ('STM32H743ZI', ''), ('nRF52840', ''), ('RP2040', '')),
              False),
             (('--out', '-o'), 'The board file to write.', (), False),
             (('--signer',),
              "Whose programs it runs: a key's name, hex or file (default: your own key).",
              (),
              True),
             (('--force',), 'Overwrite the file.', None, False),
             (('--json',), 'Print the result as JSON.', None, False),
             (('--help', '-h'), 'Show this message and exit.', None, False)),
 'mcu build': ((('--chip',),
                'The chip, with the board file that `mcu new` writes for it.',
                (('STM32F401CC', ''), ('STM32F407VG', ''), ('STM32H743ZI', ''), ('nRF52840', ''), ('RP2040', '')),
                False),
               (('--board',), 'The board file (default: board.toml, if it is there).', (), False),
               (('--out', '-o'),
                "Folder of the Cargo project (default: firmware, with another board's or chip's name added).",
                (),
                False),
               (('--json',), 'Print the result as JSON.', None, False),
               (('--help', '-h'), 'Show this message and exit.', None, False)),
 'mcu size': ((('--chip',),
               'The chip, with the board file that `mcu new` writes for it.',
               (('STM32F401CC', ''), ('STM32F407VG', ''), ('STM32H743ZI', ''), ('nRF52840', ''), ('RP2040', '')),
               False),
              (('--board',), 'The board file (default: board.toml, if it is there).', (), False),
              (('--out', '-o'),
               "Folder of the Cargo project (default: firmware, with another board's or chip's name added).",
               (),
               False),
              (('--json',), 'Print the result as JSON.', None, False),
              (('--help', '-h'), 'Show this message and exit.', None, False))}
"""The options of each command whose options are fixed."""

ARGUMENTS: dict[str, tuple[tuple[bool, Words], ...]] = {'': (),
 'check': ((True, ()),),
 'fmt': ((True, ()),),
 'compile': ((True, ()),),
 'explain': ((False, ()),),
 'test': ((True, ()),),
 'run': ((False, ()),),
 'inspect': ((False, ()),),
 'sign': ((False, ()),),
 'deploy': ((False, ()),),
 'diff': ((False, ()),),
 'remove': ((False, ()),),
 'status': (),
 'deployments': (),
 'deployments list': (),
 'deployments show': ((False, ()),),
 'deployments watch': ((False, ()),),
 'deployments pause': ((False, ()),),
 'deployments resume': ((False, ()),),
 'deployments promote': ((False, ()),),
 'deployments approve': ((False, ()),),
 'deployments cancel': ((False, ()),),
 'deployments rollback': ((False, ()),),
 'deployments retry': ((False, ()),),
 'nodes': (),
 'nodes list': (),
 'nodes show': ((False, ()),),
 'nodes label': ((False, ()), (True, ())),
 'nodes drain': ((False, ()),),
 'nodes undrain': ((False, ()),),
 'nodes forget': ((False, ()),),
 'nodes quarantine': ((False, ()),),
 'nodes accept': ((False, ()),),
 'alarms': (),
 'alarms list': (),
 'alarms show': ((False, ()),),
 'alarms acknowledge': ((False, ()),),
 'keys': (),
 'keys new': ((False, ()),),
 'keys list': (),
 'keys show': ((False, ()),),
 'keys trust': ((False, ()),),
 'keys revoke': ((False, ()),),
 'keys root': (),
 'keys root new': ((False, ()),),
 'keys root sign': ((False, ()),),
 'keys root show': ((False, ()),),
 'keys root publish': ((False, ()),),
 'tokens': (),
 'tokens new': ((False, ()),),
 'tokens list': (),
 'tokens revoke': ((False, ()),),
 'policy': (),
 'policy show': (),
 'policy check': ((False, ()),),
 'policy apply': ((False, ()),),
 'coordinator': (),
 'coordinator start': (),
 'coordinator init': (),
 'coordinator backup': ((False, ()),),
 'coordinator restore': ((False, ()),),
 'coordinator join-token': (),
 'coordinator sign-in': (),
 'coordinator sign-out': (),
 'coordinator log': (),
 'coordinator login': ((False, ()),),
 'node': (),
 'node init': ((False, ()),),
 'node install-service': (),
 'node boards': (),
 'buffer': (),
 'audit': (),
 'mcu': (),
 'mcu push': ((False, ()),),
 'mcu list': (),
 'mcu remove': ((False, ()),),
 'mcu status': (),
 'mcu flash': ((False, ()),),
 'mcu log': (),
 'mcu monitor': (),
 'mcu sim': ((False, ()),),
 'mcu chips': (),
 'mcu new': (),
 'mcu build': (),
 'mcu size': ((False, ()),)}
"""Of each argument: does it repeat, and its values."""

HELP: dict[str, str] = {
    '': """\
Usage: eyeflow [OPTIONS] COMMAND [ARGS]...

  Write a control rule once, prove it safe, run it on a server, a Raspberry Pi
  and a microcontroller.

Options:
  --version             Show the version and exit.
  --install-completion  Install completion for the current shell.
  --show-completion     Show completion for the current shell, to copy it or
                        customize the installation.
  -h, --help            Show this message and exit.

Commands:
  check        Say whether rules are right, without writing anything.
  fmt          Format rules in the one style.
  compile      Compile rules to .svm programs, and print what the...
  explain      Explain a diagnostic code, with an example and its...
  test         Run the tests of rules.
  run          Run a rule on recorded events and show what it would have...
  inspect      Show what a program is: header, proven limits,...
  sign         Add a signature to a program; its id does not change.
  deploy       Bring a rule to nodes, or what changed in a folder of...
  diff         Show for each node what deploying a folder of rules would...
  remove       Take a rule off nodes: they stop running it and forget its...
  status       Show the cluster: its nodes, what they run and how they do.
  executions   List the newest executions, the last one at the end: of...
  why          Explain one execution, and let its program decide again on...
  deployments  See, follow and steer deployments; without a command: list...
  nodes        See, label, drain and forget nodes; without a command:...
  alarms       See what needs a person, and take note of it; without a...
  keys         Signing keys, and whose programs to trust.
  tokens       Who may use the coordinator, and for what.
  policy       What deployments to some nodes must keep.
  coordinator  The service that keeps the state of the cluster.
  node         The daemon that runs programs.
  buffer       What a node keeps until others hold it, and how far they are.
  audit        The record of everything a node did.
  mcu          Microcontrollers: build, flash and talk to boards.""",
    'check': """\
Usage: eyeflow check [OPTIONS] {rules}...

  Say whether rules are right, without writing anything.

Arguments:
  rules...  Rule files, folders with rules, or - for standard input.
            [required]

Options:
  --profile <linux|mcu>           What the rule may use (default: linux, or
                                  mcu for a rule that needs what only boards
                                  have).
  --target CHIP                   Compile for this chip (implies --profile
                                  mcu): STM32F401CC.
  --board <path>                  Compile for the chip of this board file, and
                                  check pins and buses against it.
  --catalog <path>                A TOML file with more capabilities; may be
                                  given again.
  --format <text|concise|github>  How to show diagnostics.  [default: text]
  --json                          Print the result as JSON.
  -h, --help                      Show this message and exit.""",
    'fmt': """\
Usage: eyeflow fmt [OPTIONS] {rules}...

  Format rules in the one style. From standard input, the formatted rule goes
  to standard output.

Arguments:
  rules...  Rule files, folders with rules, or - for standard input.
            [required]

Options:
  --check     Change nothing; fail if a file would change.
  --diff      Change nothing; print what would change.
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'compile': """\
Usage: eyeflow compile [OPTIONS] {rules}...

  Compile rules to .svm programs, and print what the verifier proved of them.

Arguments:
  rules...  Rule files, folders with rules, or - for standard input.
            [required]

Options:
  -o, --out <path>                The program file, or a folder when there are
                                  several rules.
  --emit <tokens|ast|typed|ir|asm>
                                  Print this phase instead of writing a
                                  program.
  --sign KEY                      Sign with this key of your keyring.
  --sequence <int range>          Anti-rollback number (default: from the
                                  version).  [x>=0]
  --profile <linux|mcu>           What the rule may use (default: linux, or
                                  mcu for a rule that needs what only boards
                                  have).
  --target CHIP                   Compile for this chip (implies --profile
                                  mcu): STM32F401CC.
  --board <path>                  Compile for the chip of this board file, and
                                  check pins and buses against it.
  --catalog <path>                A TOML file with more capabilities; may be
                                  given again.
  --format <text|concise|github>  How to show diagnostics.  [default: text]
  --json                          Print the result as JSON.
  -h, --help                      Show this message and exit.""",
    'explain': """\
Usage: eyeflow explain [OPTIONS] [code]

  Explain a diagnostic code, with an example and its correction.

Arguments:
  code  A diagnostic code: EF0203. Without one: all codes.

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'test': """\
Usage: eyeflow test [OPTIONS] [rules]...

  Run the tests of rules. Exit code 1 when one fails.

  With --upload the coordinator keeps the results beside the program that the
  same rule and target compile to.

Arguments:
  rules...  Rule files or folders (default: this folder).

Options:
  --cov                           Show which branches of the rules no test
                                  took.
  --cov-min PERCENT               Fail below this branch coverage.  [default:
                                  0.0; 0<=x<=100]
  --junit <path>                  Also write the results to this JUnit XML
                                  file.
  --upload                        Tell the coordinator the results: the
                                  dashboard shows them.
  -k <str>                        Only tests whose name holds this text.
  --profile <linux|mcu>           What the rule may use (default: linux, or
                                  mcu for a rule that needs what only boards
                                  have).
  --target CHIP                   Compile for this chip (implies --profile
                                  mcu): STM32F401CC.
  --board <path>                  Compile for the chip of this board file, and
                                  check pins and buses against it.
  --catalog <path>                A TOML file with more capabilities; may be
                                  given again.
  --format <text|concise|github>  How to show diagnostics.  [default: text]
  --json                          Print the result as JSON.
  -h, --help                      Show this message and exit.""",
    'run': """\
Usage: eyeflow run [OPTIONS] {rule}

  Run a rule on recorded events and show what it would have done. Nothing
  reaches the world.

Arguments:
  rule  A rule (.eye) or a compiled program (.svm).  [required]

Options:
  --events [NAME=]FILE  Recorded events: a CSV or JSON Lines file, or - for
                        stdin. May be given again; NAME is the handler.
                        [required]
  --read CALL=COLUMN    What answers a read: 'adc.read_channel(0)=value'.
  --param NAME=VALUE    Set a parameter of the rule.
  --trigger <str>       The handler's event name, when several could take
                        them.
  --stream COLUMN       The column that names the handler of each event.
                        [default: stream]
  --timestamp COLUMN    The column with the time.  [default: timestamp]
  --period DURATION     The file has no times: one event each so long.
  --speed <str>         1 as recorded, 60 a minute in a second, or max.
                        [default: max]
  --timezone <str>      For local time words: Europe/Berlin.  [default: UTC]
  --repeats             Show also actions that repeat the level a pin already
                        has.
  --summary             Print only the summary.
  --catalog <path>      A TOML file with more capabilities; may be given
                        again.
  --json                Print the result as JSON.
  -h, --help            Show this message and exit.""",
    'inspect': """\
Usage: eyeflow inspect [OPTIONS] {program}

  Show what a program is: header, proven limits, capabilities, signers, code.
  Verifies it first.

Arguments:
  program  A .svm program.  [required]

Options:
  --disasm         Show the instructions with the source line of each.
  --source <path>  The rule file, for its lines in --disasm.
  --json           Print the result as JSON.
  -h, --help       Show this message and exit.""",
    'sign': """\
Usage: eyeflow sign [OPTIONS] {program}

  Add a signature to a program; its id does not change.

Arguments:
  program  A .svm program.  [required]

Options:
  --key <str>  The key of your keyring to sign with.  [default: default]
  --json       Print the result as JSON.
  -h, --help   Show this message and exit.""",
    'deploy': """\
Usage: eyeflow deploy [OPTIONS] {RULE}

  Bring a rule to nodes, or what changed in a folder of rules: they all
  succeed, or all go back.

  Exit code 0 when it succeeded, or watches nothing and only waits for offline
  nodes: they get it as soon as they connect. Exit code 1 when it failed, went
  back, was cancelled or replaced, or has not ended in the time, whatever
  holds it up. With --json each change is one line, and the last line is the
  deployment.

  With --replay nothing has changed yet when the differences are shown. Then
  it asks, and goes on only after a yes: without a terminal give --yes, or
  --dry-run to look only. Differences alone are no failure.

Arguments:
  RULE  A rule (.eye) or a folder of rules, compiled and signed now, or a
        signed program (.svm).  [required]

Options:
  --nodes A,B                     The nodes, by name.
  --label NAME=VALUE              Nodes with this label; again: and this one.
  --all                           All nodes of the cluster that are not
                                  drained.
  --exclude A,B                   Leave these nodes out.
  --strategy <immediate|rolling|canary|blue_green|shadow>
                                  How to roll it out.  [default: immediate]
  --batch N|N%                    rolling: how many nodes at once, or which
                                  share of them.
  --observe DURATION              How long to watch after each step, such as
                                  60s.
  --percent N,N                   canary: the shares of the traffic in
                                  percent, ascending.
  --samples N                     How many executions a verdict needs.  [x>=1]
  --max-failures PERCENT          Failed executions that are fine.
  --rollback-on-error / --no-rollback
                                  Put changed nodes back when one fails.
                                  [default: rollback-on-error]
  --param NAME=VALUE              Set a parameter; of a folder:
                                  RULE.NAME=VALUE.
  --prune                         With a folder: remove the rules of the nodes
                                  that are not in it.
  --sign KEY                      The key to sign a rule with.  [default:
                                  default]
  --wait / --no-wait              Follow it to its end.  [default: wait]
  --timeout DURATION              How long to wait: 60s where nothing is
                                  watched, else until it has ended.
  --dry-run                       Only tell what would happen: programs,
                                  state, what nodes cannot run.
  --replay DURATION               First let the nodes try it on their recorded
                                  events of so much time, such as 24h, and
                                  show what differs.
  --replay-timeout DURATION       How long nodes may take for --replay.
                                  [default: 60]
  --fail-on-difference            With --replay: stop, with exit code 1, if a
                                  decision differs or none is compared.
  --yes                           After --replay: go on without asking.
  --catalog <path>                A TOML file with more capabilities; may be
                                  given again.
  --source / --no-source          Upload the rule's text and how its tests go,
                                  too, for `why` and the dashboard.  [default:
                                  source]
  --json                          Print the result as JSON.
  -h, --help                      Show this message and exit.""",
    'diff': """\
Usage: eyeflow diff [OPTIONS] {FOLDER}

  Show for each node what deploying a folder of rules would change. Exit code
  1 when it would change something.

Arguments:
  FOLDER  A folder of rules.  [required]

Options:
  --nodes A,B              The nodes, by name.
  --label NAME=VALUE       Nodes with this label; again: and this one.
  --all                    All nodes of the cluster that are not drained.
  --exclude A,B            Leave these nodes out.
  --param RULE.NAME=VALUE  Set a parameter of a rule.
  --prune                  Rules that are not in the folder would be removed.
  --catalog <path>         A TOML file with more capabilities; may be given
                           again.
  --json                   Print the result as JSON.
  -h, --help               Show this message and exit.""",
    'remove': """\
Usage: eyeflow remove [OPTIONS] {rule}

  Take a rule off nodes: they stop running it and forget its state.

Arguments:
  rule  The rule, by name.  [required]

Options:
  --nodes A,B         The nodes, by name.
  --label NAME=VALUE  Nodes with this label; again: and this one.
  --all               All nodes of the cluster that are not drained.
  --exclude A,B       Leave these nodes out.
  --json              Print the result as JSON.
  -h, --help          Show this message and exit.""",
    'status': """\
Usage: eyeflow status [OPTIONS]

  Show the cluster: its nodes, what they run and how they do. With --watch
  --json, each look is one line.

Options:
  --filter <failing|offline|pending|drained|fine>
                                  Only these nodes; again: or these.
  --label NAME=VALUE              Nodes with this label; again: and this one.
  --sort <worst|name|heard|executions|errors>
                                  Which nodes come first.  [default: worst]
  --limit <int range>             Nodes on a page: 50, and all with --json.
                                  [1<=x<=1000]
  --page <int range>              Which page.  [default: 1; x>=1]
  --watch                         Show it as it changes, until Ctrl-C.
  --json                          Print the result as JSON.
  -h, --help                      Show this message and exit.""",
    'executions': """\
Usage: eyeflow executions [OPTIONS]

  List the newest executions, the last one at the end: of all nodes, or in the
  store of one.

  The coordinator is asked for its copies. With --config or --data-dir, the
  records of that node are read where they are, while it runs or not. Where no
  coordinator is known, those of the configuration in this folder are.
  `eyeflow why ID` explains one.

Options:
  --node NODE                     Of this node; again: or of this one.
  --rule <str>                    Of this rule.
  --key <str>                     Of events with this key.
  --outcome <ok|skipped|trapped>  That ended like this.
  --action NAME                   That asked for this action, or emitted this
                                  event.
  --since TIME                    From 2h ago, or 2026-11-30T08:15:00Z on.
  --until TIME                    Before this time.
  -n, --limit <int range>         How many, the newest.  [default: 20; x>=1]
  -f, --follow                    Go on with those that come.
  --config <path>                 Configuration file (default: eyeflow-
                                  svm.toml, if it is there).
  --data-dir <path>               The node's data_dir, instead of its
                                  configuration.
  --json                          Print the result as JSON.
  -h, --help                      Show this message and exit.""",
    'why': """\
Usage: eyeflow why [OPTIONS] {EXECUTION}

  Explain one execution, and let its program decide again on what it saw.

  Exit code 0: it decides the same again. 1: it decides otherwise. 3: that
  cannot be told, because its program or the records that made its memory are
  gone, or a board ran it, which records no inputs. Where there is no such
  execution it is 1, too: `--json` then has an `error`, and else
  `again.verdict`. SEQ alone is a record of the store that is read; NODE:SEQ
  is of the newest epoch.

Arguments:
  EXECUTION  Its id, as `eyeflow executions` shows it: NODE:EPOCH:SEQ.
             [required]

Options:
  --source FILE      The rule's text, to show the lines.
  --program FILE     A program of the rule that the store has no more; again
                     for those before it.
  --config <path>    Configuration file (default: eyeflow-svm.toml, if it is
                     there).
  --data-dir <path>  The node's data_dir, instead of its configuration.
  --json             Print the result as JSON.
  -h, --help         Show this message and exit.""",
    'deployments': """\
Usage: eyeflow deployments [OPTIONS] COMMAND [ARGS]...

  See, follow and steer deployments; without a command: list them.

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.

Commands:
  list      List the newest deployments, newest first.
  show      Show a deployment: its step, verdict and nodes, what it waits...
  watch     Follow a deployment to its end.
  pause     Let a deployment begin nothing new; a failure still takes it...
  resume    Let a deployment go on that somebody paused.
  promote   Let a deployment take its next step without more evidence.
  approve   Agree to a deployment that waits for a second person.
  cancel    End a deployment early: its nodes go back to what they ran...
  rollback  Take back a deployment that succeeded.
  retry     Start a deployment that has ended again, as a new one.""",
    'deployments list': """\
Usage: eyeflow deployments list [OPTIONS]

  List the newest deployments, newest first.

Options:
  --rule RULE          Deployments of this rule.
  --node NODE          Deployments to this node.
  --open               Deployments that have not ended.
  --limit <int range>  How many.  [default: 50; x>=1]
  --json               Print the result as JSON.
  -h, --help           Show this message and exit.""",
    'deployments show': """\
Usage: eyeflow deployments show [OPTIONS] {ID}

  Show a deployment: its step, verdict and nodes, what it waits for, what you
  can do, and what failed or differed.

  Of the executions that failed, and of those on which a shadow decided
  otherwise, it keeps the newest.

Arguments:
  ID  The deployment, by its id.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'deployments watch': """\
Usage: eyeflow deployments watch [OPTIONS] {ID}

  Follow a deployment to its end.

  Exit code 0 when it succeeded, or watches nothing and only waits for offline
  nodes. Exit code 1 when it failed, went back, was cancelled or replaced, or
  has not ended in the time.

Arguments:
  ID  The deployment, by its id.  [required]

Options:
  --timeout DURATION  How long to wait: 60s where nothing is watched, else
                      until it has ended.
  --json              Print the result as JSON.
  -h, --help          Show this message and exit.""",
    'deployments pause': """\
Usage: eyeflow deployments pause [OPTIONS] {ID}

  Let a deployment begin nothing new; a failure still takes it back.

Arguments:
  ID  The deployment, by its id.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'deployments resume': """\
Usage: eyeflow deployments resume [OPTIONS] {ID}

  Let a deployment go on that somebody paused.

Arguments:
  ID  The deployment, by its id.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'deployments promote': """\
Usage: eyeflow deployments promote [OPTIONS] {ID}

  Let a deployment take its next step without more evidence.

Arguments:
  ID  The deployment, by its id.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'deployments approve': """\
Usage: eyeflow deployments approve [OPTIONS] {ID}

  Agree to a deployment that waits for a second person.

Arguments:
  ID  The deployment, by its id.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'deployments cancel': """\
Usage: eyeflow deployments cancel [OPTIONS] {ID}

  End a deployment early: its nodes go back to what they ran before.

Arguments:
  ID  The deployment, by its id.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'deployments rollback': """\
Usage: eyeflow deployments rollback [OPTIONS] {ID}

  Take back a deployment that succeeded.

Arguments:
  ID  The deployment, by its id.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'deployments retry': """\
Usage: eyeflow deployments retry [OPTIONS] {ID}

  Start a deployment that has ended again, as a new one.

Arguments:
  ID  The deployment, by its id.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'nodes': """\
Usage: eyeflow nodes [OPTIONS] COMMAND [ARGS]...

  See, label, drain and forget nodes; without a command: list them.

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.

Commands:
  list        List the nodes of the cluster, all or those that fit.
  show        Show a node: what it runs and how it does.
  label       Set labels of a node, or remove them: `eyeflow nodes label...
  drain       Take all rules off a node; until `undrain`, only...
  undrain     Let deployments go to a node again that was drained.
  forget      Take a node out of the cluster; it goes on running what it...
  quarantine  Set a node aside: nothing is deployed to it, and nothing of...
  accept      Forget what contradicts what a node has now; one with a...""",
    'nodes list': """\
Usage: eyeflow nodes list [OPTIONS]

  List the nodes of the cluster, all or those that fit.

Options:
  --label NAME=VALUE  Nodes with this label; again: and this one.
  --rule RULE         Nodes that shall run this rule.
  --name PART         Nodes with this in their name.
  --json              Print the result as JSON.
  -h, --help          Show this message and exit.""",
    'nodes show': """\
Usage: eyeflow nodes show [OPTIONS] {NODE}

  Show a node: what it runs and how it does.

Arguments:
  NODE  The node, by name.  [required]

Options:
  --state     The state variables of its rules, too.
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'nodes label': """\
Usage: eyeflow nodes label [OPTIONS] {NODE} {NAME=VALUE|NAME-...}

  Set labels of a node, or remove them: `eyeflow nodes label node-a site=lyon
  rack-`.

Arguments:
  NODE                 The node, by name.  [required]
  NAME=VALUE|NAME-...  Labels to set, or to remove: site=lyon rack-
                       [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'nodes drain': """\
Usage: eyeflow nodes drain [OPTIONS] {NODE}

  Take all rules off a node; until `undrain`, only deployments that name it
  come to it.

Arguments:
  NODE  The node, by name.  [required]

Options:
  --yes       Do not ask.
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'nodes undrain': """\
Usage: eyeflow nodes undrain [OPTIONS] {NODE}

  Let deployments go to a node again that was drained.

Arguments:
  NODE  The node, by name.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'nodes forget': """\
Usage: eyeflow nodes forget [OPTIONS] {NODE}

  Take a node out of the cluster; it goes on running what it has.

Arguments:
  NODE  The node, by name.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'nodes quarantine': """\
Usage: eyeflow nodes quarantine [OPTIONS] {NODE}

  Set a node aside: nothing is deployed to it, and nothing of it is copied,
  until `accept`; it runs on.

Arguments:
  NODE  The node, by name.  [required]

Options:
  --reason TEXT  Why, for others.
  --json         Print the result as JSON.
  -h, --help     Show this message and exit.""",
    'nodes accept': """\
Usage: eyeflow nodes accept [OPTIONS] [NODE]

  Forget what contradicts what a node has now; one with a newer manifest gets
  what the coordinator knows.

Arguments:
  NODE  The node, by name.

Options:
  --ahead     All nodes that have a newer manifest: the store is an old copy.
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'alarms': """\
Usage: eyeflow alarms [OPTIONS] COMMAND [ARGS]...

  See what needs a person, and take note of it; without a command: list the
  alarms that last.

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.

Commands:
  list         List the newest alarms that last, newest first.
  show         Show an alarm: since when, the evidence, what to do, and...
  acknowledge  Take note of an alarm under the name of your token; it...""",
    'alarms list': """\
Usage: eyeflow alarms list [OPTIONS]

  List the newest alarms that last, newest first.

Options:
  --node NODE          Alarms of this node.
  --all                Those that have ended, too.
  --new                Those of which nobody has taken note.
  --limit <int range>  How many.  [default: 50; x>=1]
  --json               Print the result as JSON.
  -h, --help           Show this message and exit.""",
    'alarms show': """\
Usage: eyeflow alarms show [OPTIONS] {ID}

  Show an alarm: since when, the evidence, what to do, and who has taken note
  of it.

Arguments:
  ID  The alarm, by its number.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'alarms acknowledge': """\
Usage: eyeflow alarms acknowledge [OPTIONS] {ID}

  Take note of an alarm under the name of your token; it lasts until what it
  is about is over.

Arguments:
  ID  The alarm, by its number.  [required]

Options:
  --note TEXT  What others should know.
  --json       Print the result as JSON.
  -h, --help   Show this message and exit.""",
    'keys': """\
Usage: eyeflow keys [OPTIONS] COMMAND [ARGS]...

  Signing keys, and whose programs to trust.

Options:
  -h, --help  Show this message and exit.

Commands:
  new     Make a signing key, and trust it on this machine.
  list    List your signing keys and the keys you trust.
  show    Show the public part of a key.
  trust   Trust the programs that a key signs.
  revoke  Trust a key no more.
  root    An offline key that says whose programs nodes may trust.""",
    'keys new': """\
Usage: eyeflow keys new [OPTIONS] [name]

  Make a signing key, and trust it on this machine.

Arguments:
  name  Name of the key.  [default: default]

Options:
  --passphrase  Encrypt the key file; asks, or reads EYEFLOW_PASSPHRASE.
  --json        Print the result as JSON.
  -h, --help    Show this message and exit.""",
    'keys list': """\
Usage: eyeflow keys list [OPTIONS]

  List your signing keys and the keys you trust.

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'keys show': """\
Usage: eyeflow keys show [OPTIONS] [name]

  Show the public part of a key.

Arguments:
  name  Name of a key of yours, or of one that you trust.  [default: default]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'keys trust': """\
Usage: eyeflow keys trust [OPTIONS] {key}

  Trust the programs that a key signs.

Arguments:
  key  A public key in hex, or a .pub or PEM file.  [required]

Options:
  --name <str>  What to call it here.  [required]
  --cluster     Also let the coordinator's cluster trust it.
  --json        Print the result as JSON.
  -h, --help    Show this message and exit.""",
    'keys revoke': """\
Usage: eyeflow keys revoke [OPTIONS] {name}

  Trust a key no more.

Arguments:
  name  Name, fingerprint or public key of a trusted key.  [required]

Options:
  --cluster   Also let the coordinator's cluster trust it no more.
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'keys root': """\
Usage: eyeflow keys root [OPTIONS] COMMAND [ARGS]...

  An offline key that says whose programs nodes may trust.

Options:
  -h, --help  Show this message and exit.

Commands:
  new      Make a root key.
  sign     Sign the list of those who may sign programs.
  show     Show a list of signers, and check that its root has signed it.
  publish  Give a signed list to the coordinator, which hands it on to...""",
    'keys root new': """\
Usage: eyeflow keys root new [OPTIONS] [name]

  Make a root key. It signs lists of signers and no programs; keep it off
  every machine that runs.

Arguments:
  name  Name of the root key.  [default: root]

Options:
  --passphrase  Encrypt the key file; asks, or reads EYEFLOW_PASSPHRASE.
  --json        Print the result as JSON.
  -h, --help    Show this message and exit.""",
    'keys root sign': """\
Usage: eyeflow keys root sign [OPTIONS] [file]

  Sign the list of those who may sign programs. It replaces the list in the
  file, with the next version.

  Without `--signer` the same signers are signed again, and without `--need`
  as many are needed as before.

Arguments:
  file  The list of signers.  [default: signers.json]

Options:
  --signer <str>         A key in hex, or a .pub file; may be repeated. All of
                         them.
  --need NUMBER[:WHERE]  How many of them sign each program: 2, or
                         2:rule=pump*,node=node-prod-*,label=site=lyon where
                         all of that fits; may be repeated. 1 ends it.
  --key <str>            Name of the root key.  [default: root]
  --valid DURATION       How long nodes take new programs by it; or forever.
                         [default: 365d]
  --json                 Print the result as JSON.
  -h, --help             Show this message and exit.""",
    'keys root show': """\
Usage: eyeflow keys root show [OPTIONS] [file]

  Show a list of signers, and check that its root has signed it.

Arguments:
  file  The list of signers.  [default: signers.json]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'keys root publish': """\
Usage: eyeflow keys root publish [OPTIONS] [file]

  Give a signed list to the coordinator, which hands it on to its nodes. Needs
  an admin token, and no root key.

Arguments:
  file  The list of signers.  [default: signers.json]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'tokens': """\
Usage: eyeflow tokens [OPTIONS] COMMAND [ARGS]...

  Who may use the coordinator, and for what.

Options:
  -h, --help  Show this message and exit.

Commands:
  new     Make an API token for a person or a CI job; it is shown once.
  list    List the API tokens, never their secrets.
  revoke  Let an API token work no more, from this moment.""",
    'tokens new': """\
Usage: eyeflow tokens new [OPTIONS] {name}

  Make an API token for a person or a CI job; it is shown once.

Arguments:
  name  Whom or what the token is for: ci-main. It says who did what.
        [required]

Options:
  --role <admin|deploy|read>  What it may do.  [default: deploy]
  --valid DURATION            How long it works: 8h, 90d, or forever.
                              [default: 90d]
  --label NAME=VALUE          Only for nodes with this label; again: and this
                              one.
  --person <str>              Whose it is, when a person has several: nobody
                              approves what they asked.
  --json                      Print the result as JSON.
  -h, --help                  Show this message and exit.""",
    'tokens list': """\
Usage: eyeflow tokens list [OPTIONS]

  List the API tokens, never their secrets.

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'tokens revoke': """\
Usage: eyeflow tokens revoke [OPTIONS] {token}

  Let an API token work no more, from this moment.

Arguments:
  token  Name or id of the token.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'policy': """\
Usage: eyeflow policy [OPTIONS] COMMAND [ARGS]...

  What deployments to some nodes must keep.

Options:
  -h, --help  Show this message and exit.

Commands:
  show   Show the policy that holds now.
  check  Check a policy and show which nodes each demand is for; nothing...
  apply  Make a file the policy: it holds for deployments asked for from...""",
    'policy show': """\
Usage: eyeflow policy show [OPTIONS]

  Show the policy that holds now.

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'policy check': """\
Usage: eyeflow policy check [OPTIONS] {FILE}

  Check a policy and show which nodes each demand is for; nothing changes.

Arguments:
  FILE  The policy, in TOML.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'policy apply': """\
Usage: eyeflow policy apply [OPTIONS] {FILE}

  Make a file the policy: it holds for deployments asked for from now on. An
  empty file demands nothing.

Arguments:
  FILE  The policy, in TOML.  [required]

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'coordinator': """\
Usage: eyeflow coordinator [OPTIONS] COMMAND [ARGS]...

  The service that keeps the state of the cluster.

Options:
  -h, --help  Show this message and exit.

Commands:
  start       Run the coordinator until Ctrl-C, SIGTERM or SIGHUP.
  init        Make a CA of the cluster's own and a server certificate:...
  backup      Write the coordinator's store, keys and CA to one file,...
  restore     Put a backup back while the coordinator does not run.
  join-token  Make a token with which one node can join the cluster, once.
  sign-in     Make a link that signs a browser in to the dashboard once,...
  sign-out    End all sessions of browsers that your token began, and let...
  log         Show who changed what, or check that nobody changed the log...
  login       Keep where the coordinator is and an API token (asked for,...""",
    'coordinator start': """\
Usage: eyeflow coordinator start [OPTIONS]

  Run the coordinator until Ctrl-C, SIGTERM or SIGHUP.

  The first start makes an admin token and tells how nodes join. Each of these
  signals ends it cleanly.

Options:
  --host <str>                    Address to listen on.  [default: 127.0.0.1]
  --port <int range>              Port; 0: any free one.  [default: 7700;
                                  0<=x<=65535]
  --data-dir <path>               Where it keeps its store (default:
                                  ~/.local/share/eyeflow).
  --store URL                     PostgreSQL database that several
                                  coordinators share:
                                  postgresql://USER@HOST/DATABASE. Its
                                  password belongs in this variable or in
                                  ~/.pgpass: what stands in a command, others
                                  see. Default: one SQLite file.  [env var:
                                  EYEFLOW_COORDINATOR_STORE]
  --archive-max-mb <int range>    Bound of the copies of the nodes' audit.
                                  [default: 8192; x>=64]
  --archive-max-days <int range>  Older records go from the copies; 0: only by
                                  size.  [default: 0; x>=0]
  --tls-cert <path>               Certificate chain, PEM.
  --tls-key <path>                Private key of the certificate, PEM.
  --insecure                      Listen beyond loopback without TLS: another
                                  layer protects the network.
  --log-format <text|json>        How to write the log.  [default: text]
  --json                          Print the result as JSON.
  -h, --help                      Show this message and exit.""",
    'coordinator init': """\
Usage: eyeflow coordinator init [OPTIONS]

  Make a CA of the cluster's own and a server certificate: from then on
  everything goes over TLS.

  Again, it shows both, or makes a new certificate for other names. A
  coordinator that runs sees it within seconds.

Options:
  --name <str>       Host name or address at which nodes and people reach it;
                     may be repeated.
  --new-ca           Replace the CA. Nodes follow by themselves; the old one
                     vouches for it.
  --forget-old-ca    Take no certificate of an earlier CA any more.
  --data-dir <path>  Where it keeps its store (default:
                     ~/.local/share/eyeflow).
  --json             Print the result as JSON.
  -h, --help         Show this message and exit.""",
    'coordinator backup': """\
Usage: eyeflow coordinator backup [OPTIONS] {file}

  Write the coordinator's store, keys and CA to one file, also while it runs.

  Keep it as you keep a private key. With PostgreSQL it holds the keys and the
  CA: `pg_dump` copies the database.

Arguments:
  file  The new file: backup.tar.  [required]

Options:
  --data-dir <path>  Where it keeps its store (default:
                     ~/.local/share/eyeflow).
  --archive          With the second copy of the nodes' audit; it may be
                     large.
  --json             Print the result as JSON.
  -h, --help         Show this message and exit.""",
    'coordinator restore': """\
Usage: eyeflow coordinator restore [OPTIONS] {file}

  Put a backup back while the coordinator does not run. What was there is kept
  beside it.

  Nodes get what the backup says, with numbers above those that they have.
  Nodes that joined since join again, and tokens and keys that were revoked
  since must be revoked again.

Arguments:
  file  A file that `eyeflow coordinator backup` wrote.  [required]

Options:
  --data-dir <path>  Where it keeps its store (default:
                     ~/.local/share/eyeflow).
  --json             Print the result as JSON.
  -h, --help         Show this message and exit.""",
    'coordinator join-token': """\
Usage: eyeflow coordinator join-token [OPTIONS]

  Make a token with which one node can join the cluster, once.

Options:
  --valid DURATION  How long it can be used.  [default: 1h]
  --json            Print the result as JSON.
  -h, --help        Show this message and exit.""",
    'coordinator sign-in': """\
Usage: eyeflow coordinator sign-in [OPTIONS]

  Make a link that signs a browser in to the dashboard once, with the rights
  of your token.

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'coordinator sign-out': """\
Usage: eyeflow coordinator sign-out [OPTIONS]

  End all sessions of browsers that your token began, and let its sign-in
  links work no more.

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'coordinator log': """\
Usage: eyeflow coordinator log [OPTIONS]

  Show who changed what, or check that nobody changed the log itself.

Options:
  -n, --last <int range>  How many entries to show.  [default: 50;
                          1<=x<=10000]
  --who NAME              Only what this token or node did.
  --verify                Check the whole log, also against what you saw at
                          the last check.
  --json                  Print the result as JSON.
  -h, --help              Show this message and exit.""",
    'coordinator login': """\
Usage: eyeflow coordinator login [OPTIONS] {url}

  Keep where the coordinator is and an API token (asked for, or EYEFLOW_TOKEN)
  for this user's commands.

Arguments:
  url  The coordinator: http://127.0.0.1:7700.  [required]

Options:
  --ca-file <str>      PEM file that signs the coordinator's certificate.
  --fingerprint <str>  Of the coordinator's CA, from `eyeflow coordinator
                       init`.
  -h, --help           Show this message and exit.""",
    'node': """\
Usage: eyeflow node [OPTIONS] COMMAND [ARGS]...

  The daemon that runs programs.

Options:
  -h, --help  Show this message and exit.

Commands:
  init             Write a configuration file with comments.
  join             Let a node join a cluster: registers its key, and...
  kafka-setup      Bring Apache Kafka here, for a node with a broker of...
  start            Run the node until Ctrl-C, SIGTERM or SIGHUP.
  install-service  Print the systemd unit of a node, or write it: it...
  status           Show the node that runs on this machine; needs no...
  boards           The boards behind this node.""",
    'node init': """\
Usage: eyeflow node init [OPTIONS] {name}

  Write a configuration file with comments.

Arguments:
  name  Name of the node in the cluster: node-prod-01.  [required]

Options:
  -o, --out <path>  The file to write.  [default: eyeflow-svm.toml]
  --force           Overwrite the file.
  -h, --help        Show this message and exit.""",
    'node join': """\
Usage: eyeflow node join [OPTIONS] {url}

  Let a node join a cluster: registers its key, and trusts the keys that the
  cluster trusts.

Arguments:
  url  The coordinator: http://127.0.0.1:7700.  [required]

Options:
  --token <str>    Join token, from `eyeflow coordinator join-token`.
                   [required]
  --config <path>  Configuration file (default: eyeflow-svm.toml, if it is
                   there).
  --json           Print the result as JSON.
  -h, --help       Show this message and exit.""",
    'node kafka-setup': """\
Usage: eyeflow node kafka-setup [OPTIONS]

  Bring Apache Kafka here, for a node with a broker of its own: buffer_backend
  = "kafka_embedded".

  It needs Java 17 or newer. Without --from it is fetched by Maven, once,
  about 40 MB.

Options:
  --config <path>     Configuration file (default: eyeflow-svm.toml, if it is
                      there).
  --from <directory>  A folder with the jars, for a machine without a network.
  --home <directory>  Where it goes, whatever the configuration says.
  --json              Print the result as JSON.
  -h, --help          Show this message and exit.""",
    'node start': """\
Usage: eyeflow node start [OPTIONS]

  Run the node until Ctrl-C, SIGTERM or SIGHUP. It needs no coordinator.

  Every setting of the file is a flag too: --offline-max-buffer-size-mb 64.

  A signal ends it cleanly. None lets it read its settings again: start it
  anew for that.

Options:
  --config <path>           Configuration file (default: eyeflow-svm.toml, if
                            it is there).
  --log-format <text|json>  How to write the log.  [default: text]
  -v, --verbose             Log more.
  -h, --help                Show this message and exit.""",
    'node install-service': """\
Usage: eyeflow node install-service [OPTIONS]

  Print the systemd unit of a node, or write it: it starts at boot, is
  watched, and is kept in a sandbox.

  Its settings are those of the file: the service has neither the flags nor
  the variables of this terminal.

Options:
  --config <path>  Configuration file (default: eyeflow-svm.toml, if it is
                   there).
  --user <str>     Who runs the node (default: you).
  --write          Write it into /etc/systemd/system, instead of to stdout.
  --json           Print the result as JSON.
  -h, --help       Show this message and exit.""",
    'node status': """\
Usage: eyeflow node status [OPTIONS]

  Show the node that runs on this machine; needs no coordinator.

Options:
  --config <path>  Configuration file (default: eyeflow-svm.toml, if it is
                   there).
  --json           Print the result as JSON.
  -h, --help       Show this message and exit.""",
    'node boards': """\
Usage: eyeflow node boards [OPTIONS] COMMAND [ARGS]...

  The boards behind this node.

Options:
  -h, --help  Show this message and exit.

Commands:
  list     List the boards behind this node, and serial ports that nobody...
  adopt    Let this node own a board's line and speak for it, from now on...
  rename   Give an adopted board another name.
  release  Give a board's line back and forget it; the board runs on.""",
    'node boards list': """\
Usage: eyeflow node boards list [OPTIONS]

  List the boards behind this node, and serial ports that nobody adopted.
  Nothing is sent to those.

Options:
  --config <path>  Configuration file (default: eyeflow-svm.toml, if it is
                   there).
  --json           Print the result as JSON.
  -h, --help       Show this message and exit.""",
    'node boards adopt': """\
Usage: eyeflow node boards adopt [OPTIONS] {PORT}

  Let this node own a board's line and speak for it, from now on and after
  each start.

  The board must answer. A USB port is kept by its serial number, so it is
  found again under another name.

Arguments:
  PORT  Its serial port: /dev/ttyACM0, or socket://HOST:PORT.  [required]

Options:
  --name <str>        Its name in the cluster: node-mcu-01.  [required]
  --board <path>      The board file (default: board.toml, if it is there).
  --baud <int range>  Baud rate of its link (default: of the board file).
                      [x>=1200]
  --config <path>     Configuration file (default: eyeflow-svm.toml, if it is
                      there).
  --json              Print the result as JSON.
  -h, --help          Show this message and exit.""",
    'node boards rename': """\
Usage: eyeflow node boards rename [OPTIONS] {NAME} {NEW}

  Give an adopted board another name. In the cluster it is another node from
  then on.

Arguments:
  NAME  The board, by name.  [required]
  NEW   Its new name.  [required]

Options:
  --config <path>  Configuration file (default: eyeflow-svm.toml, if it is
                   there).
  --json           Print the result as JSON.
  -h, --help       Show this message and exit.""",
    'node boards release': """\
Usage: eyeflow node boards release [OPTIONS] {NAME}

  Give a board's line back and forget it; the board runs on. One of the
  configuration file forgets its chip.

Arguments:
  NAME  The board, by name.  [required]

Options:
  --config <path>  Configuration file (default: eyeflow-svm.toml, if it is
                   there).
  --json           Print the result as JSON.
  -h, --help       Show this message and exit.""",
    'buffer': """\
Usage: eyeflow buffer [OPTIONS] COMMAND [ARGS]...

  What a node keeps until others hold it, and how far they are.

Options:
  -h, --help  Show this message and exit.

Commands:
  status  Show how much waits in a node's buffer, how old it is, what was...
  peek    Show the records that go to a destination next.
  export  Write the records that a destination does not hold yet to a file.""",
    'buffer status': """\
Usage: eyeflow buffer status [OPTIONS]

  Show how much waits in a node's buffer, how old it is, what was dropped, and
  how far each destination is.

  How fast a destination catches up is known of a node that runs.

Options:
  --prometheus       Print metrics in the text format.
  --config <path>    Configuration file (default: eyeflow-svm.toml, if it is
                     there).
  --data-dir <path>  The node's data_dir, instead of its configuration.
  --json             Print the result as JSON.
  -h, --help         Show this message and exit.""",
    'buffer peek': """\
Usage: eyeflow buffer peek [OPTIONS]

  Show the records that go to a destination next. They stay where they are.

Options:
  --to DESTINATION         Whom they go to: coordinator or kafka.
  -n, --count <int range>  How many records.  [default: 10; x>=1]
  --config <path>          Configuration file (default: eyeflow-svm.toml, if
                           it is there).
  --data-dir <path>        The node's data_dir, instead of its configuration.
  --json                   Print the result as JSON.
  -h, --help               Show this message and exit.""",
    'buffer export': """\
Usage: eyeflow buffer export [OPTIONS] {FILE}

  Write the records that a destination does not hold yet to a file. They stay
  in the buffer, too.

  The file is one of `eyeflow audit export`, and is checked as such:
  docs/reference/audit.md.

Arguments:
  FILE  The file to write.  [required]

Options:
  --to DESTINATION   Whom they go to: coordinator or kafka.
  --all              All that is there, also what was handed on.
  --force            Overwrite the file.
  --config <path>    Configuration file (default: eyeflow-svm.toml, if it is
                     there).
  --data-dir <path>  The node's data_dir, instead of its configuration.
  --json             Print the result as JSON.
  -h, --help         Show this message and exit.""",
    'audit': """\
Usage: eyeflow audit [OPTIONS] COMMAND [ARGS]...

  The record of everything a node did.

Options:
  -h, --help  Show this message and exit.

Commands:
  verify  Check the hash chain of a node's audit: every record whole,...
  show    Show audit records: what happened, why, and what was done.
  export  Write an audit, or a part of it, to a file that others can...""",
    'audit verify': """\
Usage: eyeflow audit verify [OPTIONS]

  Check the hash chain of a node's audit: every record whole, unaltered and in
  its place.

  Signatures are checked with --key, or else with the node's own key beside
  the store. With --node the copy at the coordinator is fetched and checked
  here: with --key, or the key with which the node joined; also that the
  coordinator has signed where it ends. Exit code 1 at the first record that
  does not fit, and when there is none.

Options:
  --node NODE           The coordinator's copy of this node, in place of a
                        store.
  --epoch <int>         The copy of this epoch; the newest otherwise.
  --branch <int range>  A copy that was set aside, by its number.  [default:
                        0; x>=0]
  --key <str>           The node's public key (hex or a file), or its
                        fingerprint, which the coordinator shows.
  --config <path>       Configuration file (default: eyeflow-svm.toml, if it
                        is there).
  --data-dir <path>     The node's data_dir, instead of its configuration.
  --json                Print the result as JSON.
  -h, --help            Show this message and exit.""",
    'audit show': """\
Usage: eyeflow audit show [OPTIONS]

  Show audit records: what happened, why, and what was done.

Options:
  -n, --last <int range>  How many records, the newest.  [default: 20; x>=1]
  --from SEQ              From this record on, instead.  [x>=1]
  --rule <str>            Only records of this rule.
  --node NODE             The coordinator's copy of this node, in place of a
                          store.
  --epoch <int>           The copy of this epoch; the newest otherwise.
  --branch <int range>    A copy that was set aside, by its number.  [default:
                          0; x>=0]
  --config <path>         Configuration file (default: eyeflow-svm.toml, if it
                          is there).
  --data-dir <path>       The node's data_dir, instead of its configuration.
  --json                  Print the result as JSON.
  -h, --help              Show this message and exit.""",
    'audit export': """\
Usage: eyeflow audit export [OPTIONS] {FILE}

  Write an audit, or a part of it, to a file that others can check with public
  keys alone.

  docs/reference/audit.md has the format, and a program that checks it. The
  file is whole, or it is not there.

Arguments:
  FILE  The file to write.  [required]

Options:
  --from SEQ            From this record on.  [default: 1; x>=1]
  --to SEQ              Up to this record.  [x>=1]
  --node NODE           The coordinator's copy of this node, in place of a
                        store.
  --epoch <int>         The copy of this epoch; the newest otherwise.
  --branch <int range>  A copy that was set aside, by its number.  [default:
                        0; x>=0]
  --force               Overwrite the file.
  --config <path>       Configuration file (default: eyeflow-svm.toml, if it
                        is there).
  --data-dir <path>     The node's data_dir, instead of its configuration.
  --json                Print the result as JSON.
  -h, --help            Show this message and exit.""",
    'mcu': """\
Usage: eyeflow mcu [OPTIONS] COMMAND [ARGS]...

  Microcontrollers: build, flash and talk to boards.

Options:
  -h, --help  Show this message and exit.

Commands:
  push     Send a program to a running board; it is verified there and...
  list     List the programs on a board.
  remove   Remove a rule from a board.
  status   Show a board: firmware, memory, scans, and what its programs did.
  flash    Write a built firmware to a board with probe-rs, verify it and...
  log      Show the execution records that wait on a board, checked...
  monitor  Show what a board and its rules log, until Ctrl-C.
  sim      Run firmware without a board: pins, analog inputs and a serial...
  chips    List the chips that firmware can be built for.
  new      Write a board file with comments: pins, serial line, channels,...
  build    Build the firmware of a board: writes a Cargo project, runs...
  size     Show what a built firmware takes, with its largest functions...""",
    'mcu push': """\
Usage: eyeflow mcu push [OPTIONS] {program}

  Send a program to a running board; it is verified there and runs from the
  next scan on.

  A rule is compiled for the board's chip first, checked against the board
  file, and signed with your key. The board is told the time, too. When a node
  of this machine owns the port, the program goes through that node.

Arguments:
  program  A signed .svm program, or a rule (.eye) to compile and sign now.
           [required]

Options:
  -p, --port <str>    Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of
                      the simulator.  [env var: EYEFLOW_MCU_PORT]
  --baud <int range>  Baud rate of the board's link, as in its board file.
                      [default: 115200; x>=300]
  --timeout DURATION  In which the board must answer; what erases flash or
                      checks a signature has eight times as long.  [env var:
                      EYEFLOW_MCU_TIMEOUT; default: 3.0]
  --sign KEY          The key to sign a rule with.  [default: default]
  --board <path>      The board file (default: board.toml, if it is there).
  --param NAME=VALUE  Set a parameter of the rule; the board keeps it.
  --force             Behind a node: also a rule that the cluster deployed to
                      the board.
  --json              Print the result as JSON.
  -h, --help          Show this message and exit.""",
    'mcu list': """\
Usage: eyeflow mcu list [OPTIONS]

  List the programs on a board.

Options:
  -p, --port <str>    Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of
                      the simulator.  [env var: EYEFLOW_MCU_PORT]
  --baud <int range>  Baud rate of the board's link, as in its board file.
                      [default: 115200; x>=300]
  --timeout DURATION  In which the board must answer; what erases flash or
                      checks a signature has eight times as long.  [env var:
                      EYEFLOW_MCU_TIMEOUT; default: 3.0]
  --json              Print the result as JSON.
  -h, --help          Show this message and exit.""",
    'mcu remove': """\
Usage: eyeflow mcu remove [OPTIONS] {rule}

  Remove a rule from a board.

Arguments:
  rule  The rule, by name.  [required]

Options:
  -p, --port <str>    Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of
                      the simulator.  [env var: EYEFLOW_MCU_PORT]
  --baud <int range>  Baud rate of the board's link, as in its board file.
                      [default: 115200; x>=300]
  --timeout DURATION  In which the board must answer; what erases flash or
                      checks a signature has eight times as long.  [env var:
                      EYEFLOW_MCU_TIMEOUT; default: 3.0]
  --json              Print the result as JSON.
  -h, --help          Show this message and exit.""",
    'mcu status': """\
Usage: eyeflow mcu status [OPTIONS]

  Show a board: firmware, memory, scans, and what its programs did.

Options:
  -p, --port <str>    Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of
                      the simulator.  [env var: EYEFLOW_MCU_PORT]
  --baud <int range>  Baud rate of the board's link, as in its board file.
                      [default: 115200; x>=300]
  --timeout DURATION  In which the board must answer; what erases flash or
                      checks a signature has eight times as long.  [env var:
                      EYEFLOW_MCU_TIMEOUT; default: 3.0]
  --json              Print the result as JSON.
  -h, --help          Show this message and exit.""",
    'mcu flash': """\
Usage: eyeflow mcu flash [OPTIONS] [ELF]

  Write a built firmware to a board with probe-rs, verify it and start it.

  A node of this machine that owns the board's port lets it go meanwhile, and
  shows the board as updating.

Arguments:
  ELF  The ELF file (default: the one that was built for the board).

Options:
  --chip <str>      The chip, with the board file that `mcu new` writes for
                    it.
  --board <path>    The board file (default: board.toml, if it is there).
  -o, --out <path>  Folder of the Cargo project (default: firmware, with
                    another board's or chip's name added).
  --probe <str>     Which debug probe: VID:PID[:SERIAL].
  -p, --port <str>  The serial port of the board, which a node may own
                    (default: that of the probe).  [env var: EYEFLOW_MCU_PORT]
  --dry-run         Print the commands and do nothing.
  --json            Print the result as JSON.
  -h, --help        Show this message and exit.""",
    'mcu log': """\
Usage: eyeflow mcu log [OPTIONS]

  Show the execution records that wait on a board, checked against its hash
  chain.

  With --node: the newest ones of a board behind a node that the coordinator
  keeps.

Options:
  -p, --port <str>    Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of
                      the simulator.  [env var: EYEFLOW_MCU_PORT]
  --baud <int range>  Baud rate of the board's link, as in its board file.
                      [default: 115200; x>=300]
  --timeout DURATION  In which the board must answer; what erases flash or
                      checks a signature has eight times as long.  [env var:
                      EYEFLOW_MCU_TIMEOUT; default: 3.0]
  --forget            Let the board forget the records that were shown.
  --node BOARD        This board of the cluster, through the coordinator.
  -f, --follow        With --node: go on with those that come.
  --json              Print the result as JSON.
  -h, --help          Show this message and exit.""",
    'mcu monitor': """\
Usage: eyeflow mcu monitor [OPTIONS]

  Show what a board and its rules log, until Ctrl-C.

  With --node: a board behind a node of the cluster, from any machine.

Options:
  -p, --port <str>    Serial port: /dev/ttyACM0, or socket://127.0.0.1:7701 of
                      the simulator.  [env var: EYEFLOW_MCU_PORT]
  --baud <int range>  Baud rate of the board's link, as in its board file.
                      [default: 115200; x>=300]
  --timeout DURATION  In which the board must answer; what erases flash or
                      checks a signature has eight times as long.  [env var:
                      EYEFLOW_MCU_TIMEOUT; default: 3.0]
  --node BOARD        This board of the cluster, through the coordinator.
  --json              Print the result as JSON.
  -h, --help          Show this message and exit.""",
    'mcu sim': """\
Usage: eyeflow mcu sim [OPTIONS] [ELF]

  Run firmware without a board: pins, analog inputs and a serial port for
  `eyeflow mcu push`.

Arguments:
  ELF  The ELF file (default: the one that was built for the board).

Options:
  --chip <str>           The chip, with the board file that `mcu new` writes
                         for it.
  --board <path>         The board file (default: board.toml, if it is there).
  -o, --out <path>       Folder of the Cargo project (default: firmware, with
                         another board's or chip's name added).
  --tcp <int range>      TCP port of the serial line; 0: any.  [default: 7701;
                         0<=x<=65535]
  --pty                  Put the serial line on a pseudo-terminal instead.
  --adc <path>           What the analog channels read: a CSV file with time,
                         channel and value, or a recording of `eyeflow run`.
  --flash-image <path>   A file that keeps the flash, so that programs stay.
  --speed <float range>  How fast virtual time goes.  [default: 1.0; x>=0.01]
  --json                 Print the result as JSON.
  -h, --help             Show this message and exit.""",
    'mcu chips': """\
Usage: eyeflow mcu chips [OPTIONS]

  List the chips that firmware can be built for.

Options:
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.""",
    'mcu new': """\
Usage: eyeflow mcu new [OPTIONS]

  Write a board file with comments: pins, serial line, channels, keys. Edit it
  to match your wiring.

Options:
  --chip <str>      The chip on the board: STM32F401CC.
  -o, --out <path>  The board file to write.  [default: board.toml]
  --signer KEY      Whose programs it runs: a key's name, hex or file
                    (default: your own key).
  --force           Overwrite the file.
  --json            Print the result as JSON.
  -h, --help        Show this message and exit.""",
    'mcu build': """\
Usage: eyeflow mcu build [OPTIONS]

  Build the firmware of a board: writes a Cargo project, runs cargo, and
  checks the budget of the chip.

Options:
  --chip <str>      The chip, with the board file that `mcu new` writes for
                    it.
  --board <path>    The board file (default: board.toml, if it is there).
  -o, --out <path>  Folder of the Cargo project (default: firmware, with
                    another board's or chip's name added).
  --json            Print the result as JSON.
  -h, --help        Show this message and exit.""",
    'mcu size': """\
Usage: eyeflow mcu size [OPTIONS] [ELF]

  Show what a built firmware takes, with its largest functions and variables.

Arguments:
  ELF  The ELF file (default: the one that was built for the board).

Options:
  --chip <str>      The chip, with the board file that `mcu new` writes for
                    it.
  --board <path>    The board file (default: board.toml, if it is there).
  -o, --out <path>  Folder of the Cargo project (default: firmware, with
                    another board's or chip's name added).
  --json            Print the result as JSON.
  -h, --help        Show this message and exit.""",
}
"""What `--help` prints."""
