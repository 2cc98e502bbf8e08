# The portable CPU build (node-gyp, prebuildify). CMakeLists.txt builds the same addon from the same list, native/sources.txt.
{
  'variables': {
    'kernel_sources': ['<!@(node scripts/sources.mjs --kernels)'],
  },
  'target_defaults': {
    'include_dirs': ['native'],
    # Not -Werror: a user's newer compiler may warn of more. CMakeLists.txt, which the checks build the same sources with, has it.
    'cflags': ['-Wall', '-Wextra', '-fvisibility=hidden', '-O3'],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++14', '-std=gnu++17', '-std=gnu++1y', '-std=gnu++20'],
    # Without contraction a * b + c rounds twice on every machine, as in TensorFlow's wheels: the same bits everywhere.
    'cflags_cc': ['-std=c++20', '-fvisibility-inlines-hidden', '-ffp-contract=off', '-fno-math-errno', '-fexceptions', '-pthread'],
    'ldflags': ['-pthread'],
    'xcode_settings': {
      'CLANG_CXX_LANGUAGE_STANDARD': 'c++20',
      'CLANG_CXX_LIBRARY': 'libc++',
      'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
      'GCC_ENABLE_CPP_RTTI': 'YES',
      'GCC_OPTIMIZATION_LEVEL': '3',
      'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
      'MACOSX_DEPLOYMENT_TARGET': '11.0',
      'OTHER_CPLUSPLUSFLAGS': ['-ffp-contract=off', '-fno-math-errno', '-Wall', '-Wextra'],
    },
    'msvs_settings': {
      'VCCLCompilerTool': {
        'AdditionalOptions': ['/std:c++20', '/fp:precise', '/Zc:preprocessor'],
        'ExceptionHandling': 1,
        'RuntimeTypeInfo': 'true',
      },
    },
  },
  'targets': [
    {
      'target_name': 'gradsync',
      'sources': ['<!@(node scripts/sources.mjs)'],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'dependencies': ['kernels_baseline'],
      'defines': [
        # Node-API 8 is in every Node that package.json admits; a prebuilt addon works in all later ones.
        'NAPI_VERSION=8',
        # In native/node alone: C++ exceptions of any kind become JavaScript's.
        'NODE_ADDON_API_CPP_EXCEPTIONS_ALL',
        'NODE_ADDON_API_DISABLE_DEPRECATED',
        # A thread that is being terminated throws no JavaScript exceptions any more; without this its calls would abort the process.
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
        'GRADSYNC_VERSION="<!(node scripts/sources.mjs --version)"',
      ],
      'conditions': [
        ['target_arch=="x64" and OS!="win"', {
          'dependencies': ['kernels_avx2', 'kernels_avx512'],
          'defines': ['GRADSYNC_X86_KERNELS'],
        }],
      ],
    },
    # The kernels, once per instruction set, each in its own namespace; which one is used is decided at run time.
    {
      'target_name': 'kernels_baseline',
      'type': 'static_library',
      'sources': ['<@(kernel_sources)'],
      'defines': ['GRADSYNC_KERNELS_NAMESPACE=baseline'],
    },
  ],
  'conditions': [
    ['target_arch=="x64" and OS!="win"', {
      'targets': [
        {
          'target_name': 'kernels_avx2',
          'type': 'static_library',
          'sources': ['<@(kernel_sources)'],
          'defines': ['GRADSYNC_KERNELS_NAMESPACE=avx2'],
          'cflags': ['-mavx2'],
          'xcode_settings': {'OTHER_CPLUSPLUSFLAGS': ['-mavx2']},
        },
        {
          'target_name': 'kernels_avx512',
          'type': 'static_library',
          'sources': ['<@(kernel_sources)'],
          'defines': ['GRADSYNC_KERNELS_NAMESPACE=avx512'],
          'variables': {
            'avx512': ['-mavx2', '-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mprefer-vector-width=512'],
          },
          'cflags': ['<@(avx512)'],
          'xcode_settings': {'OTHER_CPLUSPLUSFLAGS': ['<@(avx512)']},
        },
      ],
    }],
  ],
}
